// What surrounds a gliomart model: pixels to its input, its anomaly map to a score and regions.
//
// Plain C# without any library. docs/other-languages.md says what each step is, and Check.cs
// compares this file with the Python runtime.
using System;
using System.Collections.Generic;
using System.Linq;

namespace Gliomart
{
    public sealed class Image
    {
        public readonly int Height, Width;
        public readonly float[] Pixels;  // row by row

        public Image(int height, int width, float value = 0)
        {
            Height = height;
            Width = width;
            Pixels = new float[height * width];
            if (value != 0) for (int i = 0; i < Pixels.Length; ++i) Pixels[i] = value;
        }

        public float this[int y, int x]
        {
            get { return Pixels[y * Width + x]; }
            set { Pixels[y * Width + x] = value; }
        }
    }

    public struct Box
    {
        public int X, Y, Width, Height;

        // The box, empty at first, that reaches to a pixel as well; pixels come row by row.
        public Box Extended(int x, int y)
        {
            if (Height == 0) return new Box { X = x, Y = y, Width = 1, Height = 1 };
            int left = Math.Min(X, x), right = Math.Max(X + Width, x + 1);
            return new Box { X = left, Y = Y, Width = right - left, Height = y + 1 - Y };
        }
    }

    public struct Normalisation
    {
        public Box Box;
        public double Black, Brain;
    }

    public sealed class Region
    {
        public Box Box;
        public int Area;
        public double CentroidX, CentroidY;
        public float Peak;
    }

    public static class Before
    {
        // Where the head is and how bright its brain, for at most 32 slices of a series.
        public static Normalisation EstimateNormalisation(
            IList<Image> slices, double rowMm, double columnMm, double margin)
        {
            int step = Math.Max(1, Math.Min(slices[0].Height, slices[0].Width) / 128);
            var planes = slices.Select(slice => Reduced(slice, step)).ToList();
            List<double> all = planes.SelectMany(plane => plane.Pixels)
                .Select(value => (double)value).ToList();
            double black = Quantile(all, 0.01), level = 0.12 * (Quantile(all, 0.99) - black);
            var lefts = new List<double>();
            var tops = new List<double>();
            var rights = new List<double>();
            var bottoms = new List<double>();
            var inside = new List<double>();
            foreach (Image plane in planes)
            {
                var lifted = new Image(plane.Height, plane.Width);
                for (int i = 0; i < lifted.Pixels.Length; ++i)
                    lifted.Pixels[i] = plane.Pixels[i] - (float)black;
                bool[] head = HeadMask(lifted, level);
                if (head.Count(part => part) <= 0.02 * head.Length) continue;
                Box bounds = BoundsOf(head, plane.Width);
                lefts.Add(bounds.X);
                rights.Add(bounds.X + bounds.Width);
                tops.Add(bounds.Y);
                bottoms.Add(bounds.Y + bounds.Height);
                float[] depth = Depth(head, plane.Height, plane.Width);
                for (int i = 0; i < head.Length; ++i)
                    if (depth[i] > 0.2 * Math.Min(bounds.Width, bounds.Height)
                        && plane.Pixels[i] > black + level)
                        inside.Add(plane.Pixels[i]);
            }
            if (inside.Count == 0) throw new InvalidOperationException("no-head");
            double left = Quantile(lefts, 0.15) * step, right = Quantile(rights, 0.85) * step;
            double top = Quantile(tops, 0.15) * step, bottom = Quantile(bottoms, 0.85) * step;
            double side = Math.Max((right - left) * columnMm, (bottom - top) * rowMm)
                * (1 + 2 * margin);
            // Math.Round rounds halves to even, as Python does.
            int width = Math.Max((int)Math.Round(side / columnMm), 8);
            int height = Math.Max((int)Math.Round(side / rowMm), 8);
            return new Normalisation
            {
                Box = new Box
                {
                    X = (int)Math.Round((left + right - width) / 2),
                    Y = (int)Math.Round((top + bottom - height) / 2),
                    Width = width,
                    Height = height,
                },
                Black = black,
                Brain = Quantile(inside, 0.5),
            };
        }

        // The model's input, size x size, in [0, 1], of a model whose card has no shading.
        public static Image Prepared(Image image, Normalisation norm, int size, double brainLevel)
        {
            return Clipped(OnGrid(image, norm, size, brainLevel));
        }

        // A slice on the model's grid, size x size, on which black is 0 and the brain's median
        // brainLevel.
        internal static Image OnGrid(Image image, Normalisation norm, int size, double brainLevel)
        {
            Box box = norm.Box;
            var cut = new Image(box.Height, box.Width, (float)norm.Black);
            for (int y = Math.Max(box.Y, 0); y < Math.Min(box.Y + box.Height, image.Height); ++y)
                for (int x = Math.Max(box.X, 0); x < Math.Min(box.X + box.Width, image.Width); ++x)
                    cut[y - box.Y, x - box.X] = image[y, x];
            Image result = Math.Min(box.Width, box.Height) > size
                ? ResizedArea(cut, size, size)
                : ResizedLinear(cut, size, size);
            double scale = brainLevel / (norm.Brain - norm.Black);
            for (int i = 0; i < result.Pixels.Length; ++i)
                result.Pixels[i] = (float)((result.Pixels[i] - norm.Black) * scale);
            return result;
        }

        internal static Image Clipped(Image image)
        {
            var result = new Image(image.Height, image.Width);
            for (int i = 0; i < result.Pixels.Length; ++i)
                result.Pixels[i] = Math.Min(Math.Max(image.Pixels[i], 0), 1);
            return result;
        }

        // Whether the model's input shows enough of a head to be analysed.
        public static bool ShowsHead(Image input, double brainLevel, double headLevel,
                                     double minimumHead)
        {
            bool[] head = HeadMask(input, headLevel * brainLevel);
            return head.Count(part => part) >= minimumHead * head.Length;
        }

        // The value that a fraction of all values lies below, interpolated between neighbours.
        internal static double Quantile(IEnumerable<double> values, double fraction)
        {
            double[] sorted = values.ToArray();
            Array.Sort(sorted);
            double place = fraction * (sorted.Length - 1);
            int below = (int)place, above = Math.Min(below + 1, sorted.Length - 1);
            return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
        }

        // Index within 0 to size - 1, mirrored at the edge pixels (OpenCV's BORDER_REFLECT_101).
        static int Mirrored(int index, int size)
        {
            while (index < 0 || index >= size) index = index < 0 ? -index : 2 * (size - 1) - index;
            return index;
        }

        // Mean of step x step pixels, every step-th in both directions.
        static Image Reduced(Image image, int step)
        {
            int height = (image.Height + step - 1) / step, width = (image.Width + step - 1) / step;
            var result = new Image(height, width);
            for (int y = 0; y < result.Height; ++y)
                for (int x = 0; x < result.Width; ++x)
                {
                    double sum = 0;
                    for (int dy = -(step / 2); dy < step - step / 2; ++dy)
                        for (int dx = -(step / 2); dx < step - step / 2; ++dx)
                            sum += image[Mirrored(y * step + dy, image.Height),
                                         Mirrored(x * step + dx, image.Width)];
                    result[y, x] = (float)(sum / (step * step));
                }
            return result;
        }

        static Image Blurred(Image image, double sigma)
        {
            int radius = (int)Math.Round(sigma * 8 + 1) / 2;
            double[] kernel = Enumerable.Range(-radius, 2 * radius + 1)
                .Select(i => Math.Exp(-i * i / (2 * sigma * sigma))).ToArray();
            double total = kernel.Sum();
            var across = new Image(image.Height, image.Width);
            var result = new Image(image.Height, image.Width);
            for (int y = 0; y < image.Height; ++y)
                for (int x = 0; x < image.Width; ++x)
                {
                    double value = 0;
                    for (int i = -radius; i <= radius; ++i)
                        value += kernel[i + radius] * image[y, Mirrored(x + i, image.Width)];
                    across[y, x] = (float)(value / total);
                }
            for (int y = 0; y < image.Height; ++y)
                for (int x = 0; x < image.Width; ++x)
                {
                    double value = 0;
                    for (int i = -radius; i <= radius; ++i)
                        value += kernel[i + radius] * across[Mirrored(y + i, image.Height), x];
                    result[y, x] = (float)(value / total);
                }
            return result;
        }

        // What a mask, so many pixels wide, is within.
        internal static Box BoundsOf(bool[] mask, int width)
        {
            var bounds = new Box();
            for (int i = 0; i < mask.Length; ++i)
                if (mask[i]) bounds = bounds.Extended(i % width, i / width);
            return bounds;
        }

        // The largest thing above a level, with its holes filled.
        internal static bool[] HeadMask(Image image, double level)
        {
            int height = image.Height, width = image.Width;
            Image smooth = Blurred(image, Math.Max(height, width) / 128.0);
            bool[] above = smooth.Pixels.Select(value => value > (float)level).ToArray();
            int parts, regions;
            int[] labels = Parts.Labelled(above, height, width, true, out parts);
            var extents = new Box[parts + 1];
            for (int i = 0; i < labels.Length; ++i)
                extents[labels[i]] = extents[labels[i]].Extended(i % width, i / width);
            Func<int, int> room = part => extents[part].Width * extents[part].Height;
            var largest = new bool[above.Length];
            int most = 0;
            foreach (int part in Enumerable.Range(1, parts).OrderByDescending(room))
            {
                if (room(part) <= most) break;  // no part is larger than the rectangle around it
                bool[] outside = labels.Select(label => label != part).ToArray();
                int[] around = Parts.Labelled(outside, height, width, false, out regions);
                var open = new bool[regions + 1];  // those that reach the image's edge
                for (int y = 0; y < height; ++y)
                    for (int x = 0; x < width; ++x)
                        if (y == 0 || x == 0 || y == height - 1 || x == width - 1)
                            open[around[y * width + x]] = true;
                open[0] = false;  // the part itself
                bool[] filled = around.Select(region => !open[region]).ToArray();
                int size = filled.Count(pixel => pixel);
                if (size > most)
                {
                    most = size;
                    largest = filled;
                }
            }
            return largest;
        }

        // Distance of every pixel of a mask from what is outside: a chamfer distance of 5 x 5
        // pixels, added up in single precision, as OpenCV does.
        internal static float[] Depth(bool[] mask, int height, int width)
        {
            int[] down = { 0, -1, -1, -1, -1, -1, -2, -2 }, right = { -1, 0, -1, 1, -2, 2, -1, 1 };
            float[] lengths = { 1, 1, 1.4f, 1.4f, 2.1969f, 2.1969f, 2.1969f, 2.1969f };
            float[] distance = mask.Select(inside => inside ? 1e9f : 0f).ToArray();
            foreach (int sign in new[] { 1, -1 })
                for (int i = 0; i < distance.Length; ++i)
                {
                    int place = sign > 0 ? i : distance.Length - 1 - i;
                    for (int s = 0; s < lengths.Length; ++s)
                    {
                        int y = place / width + sign * down[s], x = place % width + sign * right[s];
                        if (y >= 0 && y < height && x >= 0 && x < width)
                            distance[place] = Math.Min(
                                distance[place], (float)(distance[y * width + x] + lengths[s]));
                    }
                }
            return distance;
        }

        // Bilinear, pixel centres at u = (x + 1/2) * source / target - 1/2, edges repeated.
        internal static Image ResizedLinear(Image image, int height, int width)
        {
            var result = new Image(height, width);
            for (int y = 0; y < height; ++y)
            {
                double v = (y + 0.5) * image.Height / height - 0.5;
                int row = (int)Math.Floor(v);
                int y0 = Math.Max(row, 0), y1 = Math.Min(row + 1, image.Height - 1);
                for (int x = 0; x < width; ++x)
                {
                    double u = (x + 0.5) * image.Width / width - 0.5;
                    int column = (int)Math.Floor(u);
                    int x0 = Math.Max(column, 0), x1 = Math.Min(column + 1, image.Width - 1);
                    double upper = image[y0, x0] + (u - column) * (image[y0, x1] - image[y0, x0]);
                    double lower = image[y1, x0] + (u - column) * (image[y1, x1] - image[y1, x0]);
                    result[y, x] = (float)(upper + (v - row) * (lower - upper));
                }
            }
            return result;
        }

        internal static Image ResizedArea(Image image, int height, int width)
        {
            var down = Shares(image.Height, height);
            var across = Shares(image.Width, width);
            var result = new Image(height, width);
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x)
                {
                    double value = 0;
                    foreach (var row in down[y])
                        foreach (var column in across[x])
                            value += row.Value * column.Value * image[row.Key, column.Key];
                    result[y, x] = (float)value;
                }
            return result;
        }

        // How much of each of `source` pixels goes into one of `target` pixels, when shrinking.
        static List<KeyValuePair<int, double>>[] Shares(int source, int target)
        {
            var result = new List<KeyValuePair<int, double>>[target];
            double scale = (double)source / target;
            for (int i = 0; i < target; ++i)
            {
                result[i] = new List<KeyValuePair<int, double>>();
                for (int j = (int)(i * scale); j < source && j < (i + 1) * scale; ++j)
                {
                    double part = Math.Min(j + 1, (i + 1) * scale) - Math.Max(j, i * scale);
                    if (part > 1e-9) result[i].Add(new KeyValuePair<int, double>(j, part / scale));
                }
            }
            return result;
        }
    }

    public static class After
    {
        public static double SliceScore(Image anomalyMap, double topFraction)
        {
            int count = Math.Max(1, (int)Math.Round(topFraction * anomalyMap.Pixels.Length));
            float[] sorted = (float[])anomalyMap.Pixels.Clone();
            Array.Sort(sorted);
            return sorted.Skip(sorted.Length - count).Average(value => (double)value);
        }

        // A slice's map averaged with its neighbours', by the card's weights. `beside` are as many
        // maps as weights, in the order of the slices, the own one in the middle; null where there
        // is none.
        public static Image Averaged(IList<Image> beside, IList<double> weights)
        {
            Image own = beside[beside.Count / 2];
            double whole = weights.Where((_, k) => beside[k] != null).Sum();
            var result = new Image(own.Height, own.Width);
            for (int k = 0; k < weights.Count; ++k)
                for (int i = 0; beside[k] != null && i < result.Pixels.Length; ++i)
                    result.Pixels[i] += (float)(weights[k] / whole) * beside[k].Pixels[i];
            return result;
        }

        public static double SeriesScore(IEnumerable<double> sliceScores, int seriesTop)
        {
            return sliceScores.OrderByDescending(score => score).Take(seriesTop).Average();
        }

        // Conformal p-value of a score, against tumour-free scores.
        public static double PValue(double score, ICollection<double> healthy)
        {
            return (1.0 + healthy.Count(other => other >= score)) / (healthy.Count + 1.0);
        }

        // The map on the pixels of the source, zero outside the box.
        public static Image ToSource(Image anomalyMap, Box box, int height, int width)
        {
            Image patch = Before.ResizedLinear(anomalyMap, box.Height, box.Width);
            var result = new Image(height, width);
            for (int y = Math.Max(box.Y, 0); y < Math.Min(box.Y + box.Height, height); ++y)
                for (int x = Math.Max(box.X, 0); x < Math.Min(box.X + box.Width, width); ++x)
                    result[y, x] = patch[y - box.Y, x - box.X];
            return result;
        }

        // Connected parts above the threshold, highest peak first; areas in pixels of the source.
        public static List<Region> FindRegions(Image onSource, double threshold, double minimumArea)
        {
            bool[] above = onSource.Pixels.Select(value => value > (float)threshold).ToArray();
            int count;
            int[] labels = Parts.Labelled(above, onSource.Height, onSource.Width, true, out count);
            Region[] regions = Enumerable.Range(0, count).Select(_ => new Region()).ToArray();
            for (int y = 0; y < onSource.Height; ++y)
                for (int x = 0; x < onSource.Width; ++x)
                {
                    int label = labels[y * onSource.Width + x];
                    if (label == 0) continue;
                    Region region = regions[label - 1];
                    region.Box = region.Box.Extended(x, y);
                    region.CentroidX += x;
                    region.CentroidY += y;
                    region.Peak = Math.Max(region.Peak, onSource[y, x]);
                    ++region.Area;
                }
            foreach (Region region in regions)
            {
                region.CentroidX /= region.Area;
                region.CentroidY /= region.Area;
            }
            return regions.Where(region => region.Area >= minimumArea)
                .OrderByDescending(region => region.Peak).ToList();
        }
    }

    static class Parts
    {
        // Labels, from 1, of the 8-connected (or 4-connected) parts of a mask; 0 outside.
        internal static int[] Labelled(bool[] mask, int height, int width, bool diagonal,
                                       out int count)
        {
            var labels = new int[mask.Length];
            var waiting = new Stack<int>();
            count = 0;
            for (int start = 0; start < mask.Length; ++start)
            {
                if (!mask[start] || labels[start] != 0) continue;
                labels[start] = ++count;
                waiting.Push(start);
                while (waiting.Count > 0)
                {
                    int place = waiting.Pop(), y = place / width, x = place % width;
                    for (int v = Math.Max(y - 1, 0); v <= Math.Min(y + 1, height - 1); ++v)
                        for (int u = Math.Max(x - 1, 0); u <= Math.Min(x + 1, width - 1); ++u)
                        {
                            int next = v * width + u;
                            if (!diagonal && v != y && u != x) continue;
                            if (!mask[next] || labels[next] != 0) continue;
                            labels[next] = count;
                            waiting.Push(next);
                        }
                }
            }
            return labels;
        }
    }
}
