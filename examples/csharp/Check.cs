// Compares Gliomart.cs with the reference vector:
// mcs Check.cs Example.cs Gliomart.cs && mono Check.exe ../reference.txt
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
        Box wanted = ToBox(one("box"));
        Expect("box x", norm.Box.X, wanted.X, 0);
        Expect("box y", norm.Box.Y, wanted.Y, 0);
        Expect("box width", norm.Box.Width, wanted.Width, 0);
        Expect("box height", norm.Box.Height, wanted.Height, 0);
        Expect("black", norm.Black, one("levels")[0], 1e-3);
        Expect("brain", norm.Brain, one("levels")[1], 1e-3);
        Image input = Before.Prepared(image, norm, size, brainLevel);
        ExpectPixels("input", input, rows["input"], 1e-5);
        double[] head = one("head");
        Expect("head", Before.ShowsHead(input, brainLevel, head[0], head[1]) ? 1 : 0, 1, 0);
        norm.Box = ToBox(one("small_box"));
        ExpectPixels("small_input", Before.Prepared(image, norm, size, brainLevel),
                     rows["small_input"], 1e-5);

        var map = new Image(rows["map"].Count, rows["map"][0].Length);
        for (int i = 0; i < map.Pixels.Length; ++i)
            map.Pixels[i] = (float)rows["map"][i / map.Width][i % map.Width];
        double score = After.SliceScore(map, one("top_fraction")[0]);
        Expect("score", score, one("score")[0], 1e-6);
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
