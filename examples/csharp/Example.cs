// The worked example of docs/other-languages.md.
using System;

namespace Gliomart
{
    public static class Example
    {
        // The synthetic image, 320 rows of 272 columns.
        public static Image Synthetic(int height, int width)
        {
            var image = new Image(height, width);
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x)
                {
                    double u = (x - 136) / 100.0, v = (y - 160) / 128.0;
                    double r = Math.Sqrt(u * u + v * v);
                    double squares = (x - 175) * (x - 175) + (y - 195) * (y - 195);
                    double brain = 400 + 40 * Math.Cos(9 * u) * Math.Cos(7 * v)
                        + 260 * Math.Exp(-squares / 392);
                    double value = r > 1 ? 0 : r > 0.92 ? 900 : r > 0.86 ? 60 : brain;
                    image[y, x] = (float)Math.Floor(value + 0.5);
                }
            return image;
        }
    }
}
