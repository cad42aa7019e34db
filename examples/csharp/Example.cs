// The worked example of docs/other-languages.md.
using System;
using System.Linq;

namespace Gliomart
{
    public static class Example
    {
        // The synthetic image, 320 rows of 272 columns.
        public static Image Synthetic(int height, int width)
        {
            return Drawn(height, width, 1, (y, x) => 1);
        }

        // One of 13 slices in the light of a coil; those of an uneven series differ two by two.
        public static Image Lit(int height, int width, int number, bool uneven)
        {
            double above = number - 6, jump = uneven && number / 2 % 2 == 1 ? 1.3 : 1;
            double size = Math.Sqrt(1 - (above / 12) * (above / 12));
            return Drawn(height, width, size, (y, x) =>
                Math.Exp((x - 136) / 700.0 + (y - 160) / 500.0 + above / 25) * jump);
        }

        // A slice as it is exported with a window of its own: its brightest pixel is 1000.
        public static Image Windowed(Image slice)
        {
            double white = slice.Pixels.Max();
            for (int i = 0; i < slice.Pixels.Length; ++i)
                slice.Pixels[i] = (float)Math.Floor(1000.0 * slice.Pixels[i] / white + 0.5);
            return slice;
        }

        // The head at so many times its size, in a light.
        static Image Drawn(int height, int width, double size, Func<int, int, double> light)
        {
            var image = new Image(height, width);
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x)
                {
                    double u = (x - 136) / 100.0, v = (y - 160) / 128.0;
                    double r = Math.Sqrt(u * u + v * v) / size;
                    double squares = (x - 175) * (x - 175) + (y - 195) * (y - 195);
                    double brain = 400 + 40 * Math.Cos(9 * u) * Math.Cos(7 * v)
                        + 260 * Math.Exp(-squares / 392);
                    double value = r > 1 ? 0 : r > 0.92 ? 900 : r > 0.86 ? 60 : brain;
                    image[y, x] = (float)Math.Floor(value * light(y, x) + 0.5);
                }
            return image;
        }
    }
}
