// Runs a gliomart model with the package Microsoft.ML.OnnxRuntime (1.21 or later), here on the
// worked example: Session.cs, Example.cs, Gliomart.cs and Shading.cs in a project of their own,
// then dotnet add package Microsoft.ML.OnnxRuntime && dotnet run flair-dae.onnx
using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;

namespace Gliomart
{
    public sealed class Finding
    {
        public double Score, PValue;
        public bool Flagged;
        public List<Region> Regions;
    }

    // One per process and model: any number of threads may call Analyse at once.
    public sealed class Model : IDisposable
    {
        readonly InferenceSession session;
        readonly JsonElement card;

        public Model(string path, int threads = 0)
        {
            using (var options = new SessionOptions())
            {
                options.IntraOpNumThreads = threads;  // 0: one per core
                // Spinning threads starve whatever else the workstation does, and each other.
                options.AddSessionConfigEntry("session.intra_op.allow_spinning", "0");
                session = new InferenceSession(path, options);
            }
            if (!session.ModelMetadata.CustomMetadataMap.TryGetValue("gliomart", out string text))
                throw new InvalidOperationException("the file carries no gliomart card");
            card = JsonDocument.Parse(text).RootElement;
            int schema = card.GetProperty("schema").GetInt32();
            if (schema < 4 || schema > 6)
                throw new InvalidOperationException("a card of another schema");
            if (schema > 4 && (card.GetProperty("family").GetString() != "slice"
                || card.GetProperty("images").GetArrayLength() != 1
                || Part("scoring", "scalp").HasValue))
                throw new InvalidOperationException("a model that asks for more than is done here");
            var channels = card.GetProperty("preprocessing").GetProperty("channels");
            var names = channels.EnumerateArray().Select(channel => channel.GetString());
            if (!names.SequenceEqual(new[] { "plain" }))
                throw new InvalidOperationException("channels that Gliomart.cs does not make");
        }

        // A whole series in order, all of one size; null for a slice that shows no head. One image
        // that has no series is `alone`.
        public List<Finding> Analyse(IList<Image> slices, double rowMm, double columnMm,
                                     bool alone = false)
        {
            int size = (int)Number("preprocessing", "size");
            double brainLevel = Number("preprocessing", "brain_level");
            double headLevel = Number("preprocessing", "head_level");
            int[] numbers = Field.Sampled(slices.Count);
            List<Image> sample = numbers.Select(number => slices[number]).ToList();
            Normalisation norm = Before.EstimateNormalisation(
                sample, rowMm, columnMm, Number("preprocessing", "margin"));
            Shading rules = ReadShading();
            Field field = rules == null
                ? null : Field.Estimate(sample, numbers, norm, brainLevel, headLevel, rules);

            var maps = new List<Image>();
            for (int i = 0; i < slices.Count; ++i)
            {
                Image input = field == null
                    ? Before.Prepared(slices[i], norm, size, brainLevel)
                    : Field.Prepared(slices[i], norm, field.At(i), size, brainLevel);
                bool shown = Before.ShowsHead(input, brainLevel, headLevel,
                                              Number("preprocessing", "minimum_head"));
                maps.Add(shown ? AnomalyMap(input) : null);
            }
            double[] weights = Numbers("scoring", "neighbours");
            return Enumerable.Range(0, slices.Count).Select(i =>
            {
                if (maps[i] == null) return null;
                List<Image> beside = Neighbours(maps, i, weights.Length);
                // A slice of a series none of whose neighbours was analysed is scored as an image
                // alone is.
                bool byItself = alone || beside.Count(map => map != null) == 1;
                Image scored = beside.Count == 0 ? maps[i] : After.Averaged(beside, weights);
                return Judged(maps[i], scored, slices[i], norm, byItself);
            }).ToList();
        }

        // How uneven light is undone; null where it is left, as by all cards before schema 6.
        Shading ReadShading()
        {
            if (!Part("preprocessing", "shading").HasValue) return null;
            JsonElement rules = Part("preprocessing", "shading").Value;
            return new Shading
            {
                Side = rules.GetProperty("side").GetInt32(),
                Levels = rules.GetProperty("levels").GetInt32(),
                Steps = rules.GetProperty("steps").GetInt32(),
                Sharpness = rules.GetProperty("sharpness").GetDouble(),
                Limit = rules.GetProperty("limit").GetDouble(),
                Disagreement = rules.GetProperty("disagreement").GetDouble(),
            };
        }

        Image AnomalyMap(Image input)
        {
            var map = new Image(input.Height, input.Width);  // restricted to the brain already
            using (var image = OrtValue.CreateTensorValueFromMemory(
                input.Pixels, new long[] { 1, input.Height, input.Width, 1 }))
            using (var run = new RunOptions())
            using (var results = session.Run(
                run, new Dictionary<string, OrtValue> { { "image", image } },
                new[] { "anomaly_map" }))
                results[0].GetTensorDataAsSpan<float>().CopyTo(map.Pixels);
            if (map.Pixels.Any(value => float.IsNaN(value) || float.IsInfinity(value)))
                throw new InvalidOperationException("the graph gave no finite map");
            return map;
        }

        // So many maps in a row, a slice's own in the middle; null where one is missing.
        static List<Image> Neighbours(IList<Image> maps, int number, int count)
        {
            return Enumerable.Range(number - count / 2, count)
                .Select(i => i >= 0 && i < maps.Count ? maps[i] : null).ToList();
        }

        // Its outlines are those of its own map.
        Finding Judged(Image own, Image scored, Image slice, Normalisation norm,
                       bool byItself)
        {
            bool single = byItself && Part("calibration", "single_scores").HasValue;
            double score = After.SliceScore(scored, Number("scoring", "top_fraction"));
            double p = After.PValue(
                score, Numbers("calibration", single ? "single_scores" : "slice_scores"));
            double pixelsPerPixel =
                (double)norm.Box.Width * norm.Box.Height / own.Pixels.Length;
            return new Finding
            {
                Score = score,
                PValue = p,
                Flagged = p <= Number("calibration", "false_alarm_rate"),
                Regions = After.FindRegions(
                    After.ToSource(own, norm.Box, slice.Height, slice.Width),
                    Number("calibration", "pixel_threshold"),
                    Number("scoring", "minimum_area_px") * pixelsPerPixel),
            };
        }

        public void Dispose() => session.Dispose();

        double Number(string part, string key) => Part(part, key).Value.GetDouble();

        // None where the card has none.
        double[] Numbers(string part, string key) => Part(part, key) is JsonElement values
            ? values.EnumerateArray().Select(value => value.GetDouble()).ToArray()
            : new double[0];

        // What the card has of that name; nothing where it has none, or null.
        JsonElement? Part(string part, string key) =>
            card.GetProperty(part).TryGetProperty(key, out JsonElement value)
            && value.ValueKind != JsonValueKind.Null ? value : (JsonElement?)null;
    }
    static class Program
    {
        static void Main(string[] arguments)
        {
            Image slice = Example.Synthetic(320, 272);
            Finding finding;
            using (var model = new Model(arguments[0]))
                finding = model.Analyse(new[] { slice }, 0.9, 0.8, alone: true)[0];
            Console.WriteLine(FormattableString.Invariant(
                $"slice {finding.Score:G9} {finding.PValue:G9}"));
            foreach (Region region in finding.Regions)
                Console.WriteLine("slice_region {0} {1} {2} {3} {4}", region.Box.X, region.Box.Y,
                                  region.Box.X + region.Box.Width,
                                  region.Box.Y + region.Box.Height, region.Area);
        }
    }
}
