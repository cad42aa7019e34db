// Runs a gliomart model with the package Microsoft.ML.OnnxRuntime (1.21 or later), here on the
// worked example: Session.cs, Example.cs and Gliomart.cs in a project of their own, then
// dotnet add package Microsoft.ML.OnnxRuntime && dotnet run flair-dae.onnx
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
            if (schema != 4 && schema != 5)
                throw new InvalidOperationException("a card of another schema");
            if (schema == 5 && (card.GetProperty("family").GetString() != "slice"
                || card.GetProperty("images").GetArrayLength() != 1
                || card.GetProperty("scoring").GetProperty("scalp").ValueKind != JsonValueKind.Null))
                throw new InvalidOperationException("a model that asks for more than is done here");
            var channels = card.GetProperty("preprocessing").GetProperty("channels");
            var names = channels.EnumerateArray().Select(channel => channel.GetString());
            if (!names.SequenceEqual(new[] { "plain" }))
                throw new InvalidOperationException("channels that Gliomart.cs does not make");
        }

        public Normalisation Normalise(IList<Image> slices, double rowMm, double columnMm)
        {
            double margin = Number("preprocessing", "margin");
            return Before.EstimateNormalisation(slices, rowMm, columnMm, margin);
        }

        // One slice, as its series is normalised.
        public Finding Analyse(Image slice, Normalisation norm)
        {
            int size = (int)Number("preprocessing", "size");
            double brainLevel = Number("preprocessing", "brain_level");
            Image input = Before.Prepared(slice, norm, size, brainLevel);
            if (!Before.ShowsHead(input, brainLevel, Number("preprocessing", "head_level"),
                                  Number("preprocessing", "minimum_head")))
                throw new InvalidOperationException("blank-slice");

            var map = new Image(size, size);  // restricted to the brain already
            using (var image = OrtValue.CreateTensorValueFromMemory(
                input.Pixels, new long[] { 1, size, size, 1 }))
            using (var run = new RunOptions())
            using (var results = session.Run(
                run, new Dictionary<string, OrtValue> { { "image", image } },
                new[] { "anomaly_map" }))
                results[0].GetTensorDataAsSpan<float>().CopyTo(map.Pixels);
            if (map.Pixels.Any(value => float.IsNaN(value) || float.IsInfinity(value)))
                throw new InvalidOperationException("the graph gave no finite map");

            double score = After.SliceScore(map, Number("scoring", "top_fraction"));
            double[] healthy = card.GetProperty("calibration").GetProperty("slice_scores")
                .EnumerateArray().Select(value => value.GetDouble()).ToArray();
            double p = After.PValue(score, healthy);
            double pixelsPerPixel =
                (double)norm.Box.Width * norm.Box.Height / map.Pixels.Length;
            return new Finding
            {
                Score = score,
                PValue = p,
                Flagged = p <= Number("calibration", "false_alarm_rate"),
                Regions = After.FindRegions(
                    After.ToSource(map, norm.Box, slice.Height, slice.Width),
                    Number("calibration", "pixel_threshold"),
                    Number("scoring", "minimum_area_px") * pixelsPerPixel),
            };
        }

        public void Dispose() => session.Dispose();

        double Number(string part, string key) =>
            card.GetProperty(part).GetProperty(key).GetDouble();
    }
    static class Program
    {
        static void Main(string[] arguments)
        {
            Image slice = Example.Synthetic(320, 272);
            Finding finding;
            using (var model = new Model(arguments[0]))
                finding = model.Analyse(slice, model.Normalise(new[] { slice }, 0.9, 0.8));
            Console.WriteLine(FormattableString.Invariant(
                $"slice {finding.Score:G9} {finding.PValue:G9}"));
            foreach (Region region in finding.Regions)
                Console.WriteLine("slice_region {0} {1} {2} {3} {4}", region.Box.X, region.Box.Y,
                                  region.Box.X + region.Box.Width,
                                  region.Box.Y + region.Box.Height, region.Area);
        }
    }
}
