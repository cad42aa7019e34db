// How unevenly a series is lit: a smooth field of brightness, found and undone before the graph.
//
// Plain C# without any library. It is N4 (Tustison et al., IEEE TMI 2010;29:1310) on few pixels;
// docs/other-languages.md says what each step is, and Check.cs compares this file with the Python
// runtime.
using System;
using System.Collections.Generic;
using System.Linq;

namespace Gliomart
{
    // The card's preprocessing.shading.
    public sealed class Shading
    {
        public int Side = 32, Levels = 3, Steps = 20;
        public double Sharpness = 0.15, Limit = 1.2, Disagreement = 0.05;
    }

    // Natural logarithms, side x side, over the model's grid.
    public sealed class SliceField
    {
        public Image Log;  // how many times too bright the slice is
        // What it would show in even light, -infinity where it is no brain; null unless the slices
        // of its series disagree in level.
        public Image Expected;
        public double Gain;  // how much brighter the slice is as a whole, where they do
    }

    public sealed class Field
    {
        const double Darkest = 1e-3;
        const int LeastShared = 20, LeastJumps = 4;

        // Of the slices that it is known for: their places in the series, from 0, and their fields.
        public IList<int> Numbers;
        public IList<SliceField> Slices;

        // Numbers of the slices of a series of so many that normalisation and field come from.
        public static int[] Sampled(int count, int most = 32)
        {
            return Enumerable.Range(0, Math.Min(count, most)).Select(i => count <= most
                ? i : (int)Math.Round((double)i * (count - 1) / (most - 1))).ToArray();
        }

        // The field of at most 32 slices, by their numbers in the series; null where no brain is
        // deep enough to tell.
        public static Field Estimate(IList<Image> slices, IList<int> numbers, Normalisation norm,
                                     double brainLevel, double headLevel, Shading rules)
        {
            int side = rules.Side, area = side * side;
            double level = headLevel * brainLevel;
            var logs = new List<double>();
            var counted = new List<bool>();
            var deep = new List<bool>();
            foreach (Image slice in slices)
            {
                Image fine = Before.OnGrid(slice, norm, 2 * side, brainLevel);
                Image low = Before.ResizedArea(fine, side, side);
                var inside = new Image(2 * side, 2 * side);
                bool[] fineHead = Before.HeadMask(Before.Clipped(fine), level);
                for (int i = 0; i < fineHead.Length; ++i) inside.Pixels[i] = fineHead[i] ? 1 : 0;
                bool[] head = Before.ResizedArea(inside, side, side).Pixels
                    .Select(part => part > 0.5f).ToArray();
                bool large = head.Count(pixel => pixel) >= 0.02 * area;
                float[] depth = Before.Depth(head, side, side);
                Box bounds = Before.BoundsOf(head, side);
                double least = 0.2 * Math.Min(bounds.Width, bounds.Height);
                for (int i = 0; i < area; ++i)
                {
                    logs.Add(Math.Log(Math.Max(low.Pixels[i], Darkest)));
                    counted.Add(large && head[i] && low.Pixels[i] > level);
                    deep.Add(counted[counted.Count - 1] && depth[i] > least);
                }
            }
            if (!deep.Contains(true)) return null;
            double[] log = logs.ToArray();
            List<Image> seen = slices  // what shows a head
                .Where((slice, k) => counted.Skip(k * area).Take(area).Contains(true)).ToList();
            double?[] steps = Steps(log, counted, deep, slices.Count);
            double[] gains = Gains(
                steps, Jump(steps, rules.Disagreement) || EndAlike(seen, norm.Black));
            for (int i = 0; i < log.Length; ++i) log[i] -= gains[i / area];
            double[] field = N4.FieldOf(log, counted.ToArray(), slices.Count, rules);
            int[] places = Enumerable.Range(0, log.Length).Where(i => deep[i]).ToArray();
            double middle = Median(places.Select(i => field[i]));
            for (int i = 0; i < field.Length; ++i)
                field[i] = Math.Max(Math.Min(field[i] - middle, rules.Limit), -rules.Limit);
            // The brain keeps its median: how bright the series is, is estimated elsewhere.
            double shift = Median(places.Select(i => log[i] - field[i])) - Math.Log(brainLevel);
            bool disagree = gains.Any(gain => gain != 0);
            var found = new List<SliceField>();
            for (int k = 0; k < slices.Count; ++k)
            {
                var slice = new SliceField { Log = new Image(side, side), Gain = gains[k] };
                if (disagree) slice.Expected = new Image(side, side, float.NegativeInfinity);
                for (int i = 0; i < area; ++i)
                {
                    int place = k * area + i;
                    slice.Log.Pixels[i] = (float)(field[place] + shift);
                    if (disagree && deep[place])
                        slice.Expected.Pixels[i] = (float)(log[place] - field[place] - shift);
                }
                found.Add(slice);
            }
            return new Field { Numbers = numbers, Slices = found };
        }

        // The field of one slice, between those that it is known for.
        public SliceField At(int number)
        {
            int last = Numbers.Count - 1;
            if (number <= Numbers[0]) return Slices[0];
            if (number >= Numbers[last]) return Slices[last];
            int after = Enumerable.Range(0, last + 1).First(k => Numbers[k] > number);
            int from = Numbers[after - 1];
            float part = (float)(number - from) / (Numbers[after] - from);
            SliceField near = Slices[after - 1], far = Slices[after];
            if (part == 0) return near;
            return new SliceField
            {
                Log = Between(near.Log, far.Log, part),
                Expected = near.Expected == null
                    ? null : Between(near.Expected, far.Expected, part),
                Gain = near.Gain * (1 - part) + far.Gain * part,
            };
        }

        static Image Between(Image near, Image far, float part)
        {
            var result = new Image(near.Height, near.Width);
            for (int i = 0; i < result.Pixels.Length; ++i)
                result.Pixels[i] = near.Pixels[i] * (1 - part) + far.Pixels[i] * part;
            return result;
        }

        // The model's input, size x size, in [0, 1], of a slice whose light is made even.
        public static Image Prepared(Image image, Normalisation norm, SliceField field, int size,
                                     double brainLevel)
        {
            Image input = Before.OnGrid(image, norm, size, brainLevel);
            double level = LevelOf(input, field);
            var light = new Image(field.Log.Height, field.Log.Width);
            for (int i = 0; i < light.Pixels.Length; ++i)
                light.Pixels[i] = (float)Math.Exp(field.Log.Pixels[i] + level);
            light = Before.ResizedLinear(light, size, size);
            for (int i = 0; i < input.Pixels.Length; ++i) input.Pixels[i] /= light.Pixels[i];
            return Before.Clipped(input);
        }

        // How much brighter a slice is as a whole than its neighbours let expect; at the vertex too
        // little of a brain is in both to tell.
        static double LevelOf(Image input, SliceField field)
        {
            if (field.Expected == null) return 0;
            float[] seen = Before.ResizedArea(input, field.Log.Height, field.Log.Width).Pixels;
            float[] expected = field.Expected.Pixels;
            List<double> differences = Enumerable.Range(0, seen.Length)
                .Where(i => !float.IsInfinity(expected[i]) && seen[i] > (float)Darkest)
                .Select(i => Math.Log(seen[i]) - field.Log.Pixels[i] - expected[i]).ToList();
            return differences.Count < LeastShared ? field.Gain : Median(differences);
        }

        // How much brighter each slice is than the one before, as a logarithm; null where not known.
        static double?[] Steps(double[] log, IList<bool> counted, IList<bool> deep, int slices)
        {
            int area = log.Length / slices;
            var steps = new double?[slices];
            for (int k = 1; k < slices; ++k)
            {
                int[] places = Enumerable.Range(k * area, area).ToArray();
                List<double> ratios = null;
                foreach (IList<bool> both in new[] { deep, counted })
                    if (ratios == null || ratios.Count < LeastShared)
                        ratios = places.Where(i => both[i] && both[i - area])
                            .Select(i => log[i] - log[i - area]).ToList();
                if (ratios.Count >= LeastShared) steps[k] = Median(ratios);
            }
            return steps;
        }

        // Whether the ratio of neighbours jumps from one pair to the next (interleaving).
        static bool Jump(double?[] steps, double disagreement)
        {
            List<double> known = steps.Where(step => step.HasValue)
                .Select(step => step.Value).ToList();
            List<double> jumps = known.Skip(1).Zip(known, (b, a) => Math.Abs(b - a)).ToList();
            return jumps.Count >= LeastJumps && Median(jumps) > disagreement;
        }

        // Whether each slice ends at its own brightest: it was exported with a window of its own.
        // Under a window that they share, what is brightest differs from slice to slice; and where
        // it cuts off what is bright, how much it cuts off.
        static bool EndAlike(IList<Image> slices, double black)
        {
            if (slices.Count <= LeastJumps) return false;
            float highest = slices.Max(slice => slice.Pixels.Max());
            float end = (float)(black + 0.98 * (highest - black));
            List<double> shares = slices.Select(slice =>
                (double)slice.Pixels.Count(value => value >= end) / slice.Pixels.Length).ToList();
            bool most = (double)shares.Count(share => share > 0) / shares.Count >= 0.8;
            return most && (Median(shares) < 1e-3
                || Before.Quantile(shares, 0.9) < 3 * Before.Quantile(shares, 0.1));
        }

        // How much brighter each slice is than it should be, as a logarithm; all zeros unless the
        // slices disagree.
        static double[] Gains(double?[] steps, bool disagree)
        {
            var gains = new double[steps.Length];
            for (int k = 1; disagree && k < gains.Length; ++k)
                gains[k] = gains[k - 1] + (steps[k] ?? 0);
            return gains;
        }

        static double Median(IEnumerable<double> values)
        {
            return Before.Quantile(values, 0.5);
        }
    }

    static class N4
    {
        // Logarithm of the bias field, up to a constant, of a stack of logarithms in a mask.
        internal static double[] FieldOf(double[] log, bool[] mask, int slices, Shading rules)
        {
            int side = rules.Side;
            var field = new double[log.Length];
            var residual = new double[log.Length];
            int[] places = Enumerable.Range(0, log.Length).Where(i => mask[i]).ToArray();
            for (int level = 0; level < rules.Levels; ++level)
            {
                // Splines fitted as to scattered data (Lee et al., IEEE TVCG 1997;3:228).
                double[,] along = Splines(slices, 1 << level), across = Splines(side, 1 << level);
                var bases = new[] { along, across, across };
                double[][,] squares = bases.Select(basis => ToThePower(basis, 2)).ToArray();
                double[][,] cubes = bases.Select(basis => ToThePower(basis, 3)).ToArray();
                double[][,] back = bases.Select(Transposed).ToArray();
                double[] support = AlongAxes(mask.Select(m => m ? 1.0 : 0).ToArray(), squares);
                double[][] sums = squares.Select(SumsOfRows).ToArray();
                for (int step = 0; step < rules.Steps; ++step)
                {
                    double[] corrected = places.Select(i => log[i] - field[i]).ToArray();
                    double[] sharp = Sharpened(corrected, rules.Sharpness);
                    for (int n = 0; n < places.Length; ++n)
                    {
                        int i = places[n], row = i / side;
                        double sum = sums[0][row / side] * sums[1][row % side] * sums[2][i % side];
                        residual[i] = (corrected[n] - sharp[n]) / sum;
                    }
                    double[] coefficients = AlongAxes(residual, cubes);
                    for (int i = 0; i < coefficients.Length; ++i)
                        coefficients[i] = support[i] > 1e-6 ? coefficients[i] / support[i] : 0;
                    double[] fitted = AlongAxes(coefficients, back);
                    for (int i = 0; i < field.Length; ++i) field[i] += fitted[i];
                }
            }
            return field;
        }

        // Take each value for what it most likely was before a Gaussian widened the histogram.
        static double[] Sharpened(double[] values, double fwhm)
        {
            const int Bins = 200, Length = 512, Padding = (Length - Bins) / 2;
            double low = values.Min(), step = (values.Max() - low) / (Bins - 1);
            if (step <= 0) return values;
            double[] places = values.Select(value => (value - low) / step).ToArray();
            int[] bins = places.Select(place => Math.Min((int)place, Bins - 2)).ToArray();
            double[] sharp = new double[Length], nothing = new double[Length];
            for (int n = 0; n < values.Length; ++n)
            {
                sharp[Padding + bins[n]] += 1 - (places[n] - bins[n]);
                sharp[Padding + bins[n] + 1] += places[n] - bins[n];
            }
            // Of the Gaussian: its Fourier transform, which is real.
            double[] blur = Enumerable.Range(0, Length)
                .Select(k => Math.PI * Math.Min(k, Length - k) / Length * fwhm / step)
                .Select(phase => Math.Exp(-phase * phase / (4 * Math.Log(2)))).ToArray();
            Filter(sharp, nothing, blur.Select(b => b / (b * b + 0.01)).ToArray());
            double[] mean = new double[Length], weight = new double[Length];
            for (int k = 0; k < Length; ++k)
            {
                weight[k] = Math.Max(sharp[k], 0);
                mean[k] = (low + (k - Padding) * step) * weight[k];
            }
            Filter(mean, weight, blur);
            double[] expected = Enumerable.Range(Padding, Bins)
                .Select(k => weight[k] == 0 ? 0 : mean[k] / weight[k]).ToArray();
            return Enumerable.Range(0, values.Length).Select(n =>
                expected[bins[n]] * (1 - (places[n] - bins[n]))
                + expected[bins[n] + 1] * (places[n] - bins[n])).ToArray();
        }

        // Multiply the spectra of two lists of numbers by a real and even one.
        static void Filter(double[] real, double[] imaginary, double[] spectrum)
        {
            Transform(real, imaginary, -1);
            for (int k = 0; k < real.Length; ++k)
            {
                real[k] *= spectrum[k] / real.Length;
                imaginary[k] *= spectrum[k] / real.Length;
            }
            Transform(real, imaginary, 1);
        }

        // Discrete Fourier transform of a power of two of values, exp(sign * i ...), not scaled.
        static void Transform(double[] real, double[] imaginary, int sign)
        {
            int half = real.Length / 2;
            if (half == 0) return;
            double[] evenReal = new double[half], evenImaginary = new double[half];
            double[] oddReal = new double[half], oddImaginary = new double[half];
            for (int k = 0; k < half; ++k)
            {
                evenReal[k] = real[2 * k];
                evenImaginary[k] = imaginary[2 * k];
                oddReal[k] = real[2 * k + 1];
                oddImaginary[k] = imaginary[2 * k + 1];
            }
            Transform(evenReal, evenImaginary, sign);
            Transform(oddReal, oddImaginary, sign);
            for (int k = 0; k < half; ++k)
            {
                double angle = sign * Math.PI * k / half;
                double cosine = Math.Cos(angle), sine = Math.Sin(angle);
                double turnedReal = cosine * oddReal[k] - sine * oddImaginary[k];
                double turnedImaginary = cosine * oddImaginary[k] + sine * oddReal[k];
                real[k] = evenReal[k] + turnedReal;
                imaginary[k] = evenImaginary[k] + turnedImaginary;
                real[k + half] = evenReal[k] - turnedReal;
                imaginary[k + half] = evenImaginary[k] - turnedImaginary;
            }
        }

        // Cubic B-splines over so many elements, at evenly spaced places from end to end.
        static double[,] Splines(int places, int elements)
        {
            // Whatever the mesh is, a fit of one place is what it is.
            if (places == 1) return new double[,] { { 1 } };
            var values = new double[places, elements + 3];
            for (int i = 0; i < places; ++i)
            {
                double at = (double)i * elements / (places - 1);
                int first = Math.Min((int)at, elements - 1);
                double u = at - first;
                values[i, first] = (1 - u) * (1 - u) * (1 - u) / 6;
                values[i, first + 1] = (3 * u * u * u - 6 * u * u + 4) / 6;
                values[i, first + 2] = (-3 * u * u * u + 3 * u * u + 3 * u + 1) / 6;
                values[i, first + 3] = u * u * u / 6;
            }
            return values;
        }

        // Multiply each of three axes by a matrix (old length, new length).
        static double[] AlongAxes(double[] values, double[][,] matrices)
        {
            foreach (double[,] matrix in matrices)  // the first axis becomes the last, three times
            {
                int rows = matrix.GetLength(0), columns = matrix.GetLength(1);
                int others = values.Length / rows;
                var product = new double[others * columns];
                for (int i = 0; i < rows; ++i)
                    for (int j = 0; j < others; ++j)
                        for (int k = 0; k < columns; ++k)
                            product[j * columns + k] += values[i * others + j] * matrix[i, k];
                values = product;
            }
            return values;
        }

        static double[,] ToThePower(double[,] matrix, int exponent)
        {
            var result = new double[matrix.GetLength(0), matrix.GetLength(1)];
            for (int i = 0; i < matrix.GetLength(0); ++i)
                for (int j = 0; j < matrix.GetLength(1); ++j)
                    result[i, j] = Math.Pow(matrix[i, j], exponent);
            return result;
        }

        static double[,] Transposed(double[,] matrix)
        {
            var result = new double[matrix.GetLength(1), matrix.GetLength(0)];
            for (int i = 0; i < matrix.GetLength(0); ++i)
                for (int j = 0; j < matrix.GetLength(1); ++j) result[j, i] = matrix[i, j];
            return result;
        }

        static double[] SumsOfRows(double[,] matrix)
        {
            return Enumerable.Range(0, matrix.GetLength(0)).Select(i =>
                Enumerable.Range(0, matrix.GetLength(1)).Sum(j => matrix[i, j])).ToArray();
        }
    }
}
