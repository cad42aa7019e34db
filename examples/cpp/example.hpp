// The worked example of docs/other-languages.md.
#pragma once

#include "gliomart.hpp"

namespace gliomart {

// A head of 320 rows and 272 columns, at so many times its size, in a light.
template <typename Light>
Image drawn(int height, int width, double size, const Light& light) {
  Image image(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const double u = (x - 136) / 100.0, v = (y - 160) / 128.0;
      const double r = std::sqrt(u * u + v * v) / size;
      const double squares = (x - 175) * (x - 175) + (y - 195) * (y - 195);
      const double brain = 400 + 40 * std::cos(9 * u) * std::cos(7 * v) +
                           260 * std::exp(-squares / 392);
      const double value = r > 1 ? 0 : r > 0.92 ? 900 : r > 0.86 ? 60 : brain;
      image.at(y, x) = static_cast<float>(std::floor(value * light(y, x) + 0.5));
    }
  return image;
}

// The synthetic image.
inline Image synthetic(int height, int width) {
  return drawn(height, width, 1, [](int, int) { return 1.0; });
}

// One of 13 slices in the light of a coil; those of an uneven series differ two by two.
inline Image lit(int height, int width, int number, bool uneven) {
  const double above = number - 6, jump = uneven && number / 2 % 2 ? 1.3 : 1;
  const double size = std::sqrt(1 - (above / 12) * (above / 12));
  return drawn(height, width, size, [&](int y, int x) {
    return std::exp((x - 136) / 700.0 + (y - 160) / 500.0 + above / 25) * jump;
  });
}

// A slice as it is exported with a window of its own: its brightest pixel is 1000.
inline Image windowed(Image slice) {
  const double white = *std::max_element(slice.pixels.begin(), slice.pixels.end());
  for (float& value : slice.pixels)
    value = static_cast<float>(std::floor(1000.0 * value / white + 0.5));
  return slice;
}

}  // namespace gliomart
