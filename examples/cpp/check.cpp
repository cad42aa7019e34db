// Compares gliomart.hpp with the reference vector:
// g++ -std=c++17 check.cpp -o check && ./check ../reference.txt
#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "example.hpp"

using Row = std::vector<double>;

static std::map<std::string, std::vector<Row>> read(const char* path) {
  std::map<std::string, std::vector<Row>> rows;
  std::ifstream file(path);
  if (!file) throw std::runtime_error("the reference vector cannot be read");
  for (std::string line, name; std::getline(file, line);) {
    std::istringstream words(line);
    if (!(words >> name) || name[0] == '#') continue;
    Row row;
    for (double value; words >> value;) row.push_back(value);
    rows[name].push_back(row);
  }
  return rows;
}

static int failures = 0;

static void expect(const char* what, double found, double wanted, double tolerance) {
  if (std::abs(found - wanted) <= tolerance) return;
  std::printf("%s: %.7g where %.7g was expected\n", what, found, wanted);
  ++failures;
}

int main(int, char** arguments) {
  const auto rows = read(arguments[1]);
  const auto one = [&](const char* name) { return rows.at(name).at(0); };
  const auto box = [](const Row& row) {
    return gliomart::Box{int(row[0]), int(row[1]), int(row[2]), int(row[3])};
  };
  const int size = int(one("size")[0]);
  const double brain_level = one("brain_level")[0];

  const Row shape = one("image"), spacing = one("spacing");
  const gliomart::Image image = gliomart::synthetic(int(shape[0]), int(shape[1]));
  for (const Row& row : rows.at("pixel")) expect("pixel", image.at(row[0], row[1]), row[2], 0);
  const gliomart::Normalisation norm =
      gliomart::estimate_normalisation({image}, spacing[0], spacing[1], one("margin")[0]);
  expect("box x", norm.box.x, one("box")[0], 0);
  expect("box y", norm.box.y, one("box")[1], 0);
  expect("box width", norm.box.width, one("box")[2], 0);
  expect("box height", norm.box.height, one("box")[3], 0);
  expect("black", norm.black, one("levels")[0], 1e-3);
  expect("brain", norm.brain, one("levels")[1], 1e-3);
  const gliomart::Image input = gliomart::prepared(image, norm, size, brain_level);
  for (const Row& row : rows.at("input")) expect("input", input.at(row[0], row[1]), row[2], 1e-5);
  const Row head = one("head");
  expect("head", gliomart::shows_head(input, brain_level, head[0], head[1]), 1, 0);
  const gliomart::Normalisation small{box(one("small_box")), norm.black, norm.brain};
  const gliomart::Image enlarged = gliomart::prepared(image, small, size, brain_level);
  for (const Row& row : rows.at("small_input"))
    expect("small_input", enlarged.at(row[0], row[1]), row[2], 1e-5);

  const auto& lines = rows.at("map");
  gliomart::Image map(int(lines.size()), int(lines[0].size()));
  for (int y = 0; y < map.height; ++y)
    for (int x = 0; x < map.width; ++x) map.at(y, x) = float(lines[y][x]);
  const double score = gliomart::slice_score(map, one("top_fraction")[0]);
  expect("score", score, one("score")[0], 1e-6);
  expect("p_value", gliomart::p_value(score, one("healthy")), one("p_value")[0], 1e-9);
  const gliomart::Box place = box(one("map_box"));
  const gliomart::Image on_source =
      gliomart::to_source(map, place, int(one("map_image")[0]), int(one("map_image")[1]));
  for (const Row& row : rows.at("source"))
    expect("source", on_source.at(row[0], row[1]), row[2], 1e-6);
  const double pixels_per_pixel =
      double(place.width) * place.height / (double(map.width) * map.height);
  const auto regions = gliomart::find_regions(on_source, one("pixel_threshold")[0],
                                              one("minimum_area_px")[0] * pixels_per_pixel);
  expect("regions", double(regions.size()), double(rows.at("region").size()), 0);
  for (std::size_t i = 0; i < std::min(regions.size(), rows.at("region").size()); ++i) {
    const gliomart::Region& r = regions[i];
    const gliomart::Box& b = r.box;
    const double found[] = {double(b.x), double(b.y), double(b.x + b.width),
                            double(b.y + b.height), double(r.area), r.centroid_x, r.centroid_y,
                            r.peak};
    for (int j = 0; j < 8; ++j) expect("region", found[j], rows.at("region")[i][j], 1e-5);
  }
  std::puts(failures ? "differs from the reference" : "agrees with the reference");
  return failures ? 1 : 0;
}
