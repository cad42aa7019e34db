// Prints the normalisation of a series of at most 32 slices and writes its slices as the model takes
// them, first as they are lit and then in even light, and the field that they are lit by:
// normalisations SLICES COUNT HEIGHT WIDTH ROW_MM COLUMN_MM MARGIN BRAIN_LEVEL HEAD_LEVEL PREPARED
#include <cstdio>
#include <fstream>
#include <string>

#include "shading.hpp"

using gliomart::Image;

static void write(std::ofstream& file, const Image& image) {
  file.write(reinterpret_cast<const char*>(image.pixels.data()),
             std::streamsize(4 * image.pixels.size()));
}

int main(int, char** arguments) {
  const auto number = [&](int place) { return std::stod(arguments[place]); };
  std::ifstream slices(arguments[1], std::ios::binary);
  std::vector<Image> series;
  for (int i = 0; i < int(number(2)); ++i) {
    series.emplace_back(int(number(3)), int(number(4)));
    auto& pixels = series.back().pixels;
    slices.read(reinterpret_cast<char*>(pixels.data()), std::streamsize(4 * pixels.size()));
  }
  const auto norm = gliomart::estimate_normalisation(series, number(5), number(6), number(7));
  const auto& box = norm.box;
  std::printf("%d %d %d %d %.9g %.9g\n", box.x, box.y, box.width, box.height, norm.black,
              norm.brain);
  std::ofstream prepared(arguments[10], std::ios::binary);
  for (const Image& slice : series)
    write(prepared, gliomart::prepared(slice, norm, 256, number(8)));
  const auto numbers = gliomart::sampled(int(series.size()));
  const auto field =
      gliomart::estimate_field(series, numbers, norm, number(8), number(9), gliomart::Shading{});
  if (!field) return 0;
  for (std::size_t i = 0; i < series.size(); ++i)
    write(prepared, gliomart::prepared(series[i], norm, gliomart::at(*field, int(i)), 256,
                                       number(8)));
  for (const auto& slice : field->slices) write(prepared, slice.log);
}
