// Compares Gliomart.cs and Shading.cs with the reference vector:
// mcs Check.cs Example.cs Gliomart.cs Shading.cs && mono Check.exe ../reference.txt
using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using Gliomart;

static class Check
{
    static int failures;

    static Dictionary<string, List<double[]>> Read(string path)
    {
        return File.ReadLines(path)
            .Select(line => line.Split(new[] { ' ' }, StringSplitOptions.RemoveEmptyEntries))
            .Where(words => words.Length > 0)
            .GroupBy(words => words[0])
            .ToDictionary(rows => rows.Key, rows => rows.Select(words => words.Skip(1)
                .Select(word => double.Parse(word, CultureInfo.InvariantCulture))
                .ToArray()).ToList());
    }

    static void Expect(string what, double found, double wanted, double tolerance)
    {
        if (Math.Abs(found - wanted) <= tolerance) return;
        Console.WriteLine("{0}: {1} where {2} was expected", what, found, wanted);
        ++failures;
    }

    static void ExpectPixels(string what, Image image, List<double[]> rows, double tolerance)
    {
        foreach (double[] row in rows)
            Expect(what, image[(int)row[0], (int)row[1]], row[2], tolerance);
    }

    static Box ToBox(double[] row)
    {
        return new Box
        {
            X = (int)row[0], Y = (int)row[1], Width = (int)row[2], Height = (int)row[3],
        };
    }

    static void ExpectNorm(Normalisation norm, double[] box, double[] levels)
    {
        Box wanted = ToBox(box);
        Expect("box x", norm.Box.X, wanted.X, 0);
        Expect("box y", norm.Box.Y, wanted.Y, 0);
        Expect("box width", norm.Box.Width, wanted.Width, 0);
        Expect("box height", norm.Box.Height, wanted.Height, 0);
        Expect("black", norm.Black, levels[0], 1e-3);
        Expect("brain", norm.Brain, levels[1], 1e-3);
    }

    // What is lit unevenly: an image, a series, or one whose slices disagree.
    static void CheckLight(Dictionary<string, List<double[]>> rows, string name)
    {
        Func<string, double[]> one = what => rows[what][0];
        double[] shape = one("image"), sides = one("shading"), limits = one("shading_limits");
        Func<int, Image> lit = number =>
            Example.Lit((int)shape[0], (int)shape[1], number, name == "uneven");
        Func<int, Image> slice = number =>
            name == "windowed" ? Example.Windowed(lit(number)) : lit(number);
        var rules = new Shading
        {
            Side = (int)sides[0], Levels = (int)sides[1], Steps = (int)sides[2],
            Sharpness = limits[0], Limit = limits[1], Disagreement = limits[2],
        };
        int[] numbers = one(name + "_numbers").Select(number => (int)number).ToArray();
        List<Image> slices = numbers.Select(slice).ToList();
        foreach (double[] row in rows[name + "_pixel"])
            Expect("pixel", slice((int)row[0])[(int)row[1], (int)row[2]], row[3], 0);
        Normalisation norm = Before.EstimateNormalisation(
            slices, one("spacing")[0], one("spacing")[1], one("margin")[0]);
        ExpectNorm(norm, one(name + "_box"), one(name + "_levels"));
        double brainLevel = one("brain_level")[0];
        Field field = Field.Estimate(slices, numbers, norm, brainLevel, one("head")[0], rules);
        foreach (double[] row in rows[name + "_field"])
            Expect("field", field.At((int)row[0]).Log[(int)row[1], (int)row[2]], row[3], 1e-5);
        foreach (var group in rows[name + "_input"].GroupBy(row => (int)row[0]))
        {
            Image input = Field.Prepared(slice(group.Key), norm, field.At(group.Key),
                                         (int)one("size")[0], brainLevel);
            ExpectPixels("input in even light", input,
                         group.Select(row => row.Skip(1).ToArray()).ToList(), 1e-5);
        }
    }

    // Scores of slices in a series, with neighbours' maps: below, mirrored; above, turned over.
    static void CheckNeighbours(Dictionary<string, List<double[]>> rows, Image map)
    {
        Image below = new Image(map.Height, map.Width), above = new Image(map.Height, map.Width);
        for (int y = 0; y < map.Height; ++y)
            for (int x = 0; x < map.Width; ++x)
            {
                below[y, x] = map[y, map.Width - 1 - x];
                above[y, x] = map[map.Height - 1 - y, x] / 2;
            }
        Image[][] beside =
        {
            new[] { below, map, above }, new[] { null, map, above }, new[] { below, map, null },
        };
        for (int i = 0; i < beside.Length; ++i)
        {
            Image averaged = After.Averaged(beside[i], rows["neighbours"][0]);
            Expect("series_slice", After.SliceScore(averaged, rows["top_fraction"][0][0]),
                   rows["series_slice"][i][0], 1e-6);
        }
    }

    static int Main(string[] arguments)
    {
        var rows = Read(arguments[0]);
        Func<string, double[]> one = name => rows[name][0];
        int size = (int)one("size")[0];
        double brainLevel = one("brain_level")[0];

        Image image = Example.Synthetic((int)one("image")[0], (int)one("image")[1]);
        ExpectPixels("pixel", image, rows["pixel"], 0);
        double[] spacing = one("spacing");
        Normalisation norm = Before.EstimateNormalisation(
            new[] { image }, spacing[0], spacing[1], one("margin")[0]);
        ExpectNorm(norm, one("box"), one("levels"));
        Image input = Before.Prepared(image, norm, size, brainLevel);
        ExpectPixels("input", input, rows["input"], 1e-5);
        double[] head = one("head");
        Expect("head", Before.ShowsHead(input, brainLevel, head[0], head[1]) ? 1 : 0, 1, 0);
        norm.Box = ToBox(one("small_box"));
        ExpectPixels("small_input", Before.Prepared(image, norm, size, brainLevel),
                     rows["small_input"], 1e-5);
        int[] sampled = Field.Sampled((int)one("sampled")[0]);
        Expect("sampled", sampled.Length, one("sampled").Length - 1, 0);
        foreach (var pair in sampled.Zip(one("sampled").Skip(1), (n, row) => new { n, row }))
            Expect("sampled", pair.n, pair.row, 0);
        foreach (string name in new[] { "alone", "series", "uneven", "windowed" })
            CheckLight(rows, name);

        var map = new Image(rows["map"].Count, rows["map"][0].Length);
        for (int i = 0; i < map.Pixels.Length; ++i)
            map.Pixels[i] = (float)rows["map"][i / map.Width][i % map.Width];
        double score = After.SliceScore(map, one("top_fraction")[0]);
        Expect("score", score, one("score")[0], 1e-6);
        CheckNeighbours(rows, map);
        Expect("p_value", After.PValue(score, one("healthy")), one("p_value")[0], 1e-9);
        Box box = ToBox(one("map_box"));
        double[] shape = one("map_image");
        Image onSource = After.ToSource(map, box, (int)shape[0], (int)shape[1]);
        ExpectPixels("source", onSource, rows["source"], 1e-6);
        double pixelsPerPixel = (double)box.Width * box.Height / map.Pixels.Length;
        List<Region> regions = After.FindRegions(
            onSource, one("pixel_threshold")[0], one("minimum_area_px")[0] * pixelsPerPixel);
        Expect("regions", regions.Count, rows["region"].Count, 0);
        foreach (var pair in regions.Zip(rows["region"], (r, row) => new { r, row }))
        {
            Box b = pair.r.Box;
            double[] found =
            {
                b.X, b.Y, b.X + b.Width, b.Y + b.Height, pair.r.Area,
                pair.r.CentroidX, pair.r.CentroidY, pair.r.Peak,
            };
            for (int i = 0; i < found.Length; ++i) Expect("region", found[i], pair.row[i], 1e-5);
        }
        string verdict = failures > 0 ? "differs from" : "agrees with";
        Console.WriteLine(verdict + " the reference");
        return failures > 0 ? 1 : 0;
    }
}
