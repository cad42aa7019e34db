// What surrounds a gliomart model: pixels to its input, its anomaly map to a score and regions.
//
// Plain C++17 without any library. docs/other-languages.md says what each step is, and check.cpp
// compares this file with the Python runtime.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <stdexcept>
#include <vector>

namespace gliomart {

struct Image {
  int height = 0, width = 0;
  std::vector<float> pixels;  // row by row

  Image(int rows, int columns, float value = 0)
      : height(rows), width(columns), pixels(static_cast<std::size_t>(rows) * columns, value) {}
  float& at(int y, int x) { return pixels[static_cast<std::size_t>(y) * width + x]; }
  float at(int y, int x) const { return pixels[static_cast<std::size_t>(y) * width + x]; }
};

struct Box {
  int x = 0, y = 0, width = 0, height = 0;
};

struct Normalisation {
  Box box;
  double black = 0, brain = 0;
};

struct Region {
  Box box;
  int area = 0;
  double centroid_x = 0, centroid_y = 0;
  float peak = 0;
};

// The value that a fraction of all values lies below, interpolated linearly between neighbours.
inline double quantile(std::vector<double> values, double fraction) {
  if (values.empty()) throw std::invalid_argument("no values");
  std::sort(values.begin(), values.end());
  const double place = fraction * (values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const auto above = std::min(below + 1, values.size() - 1);
  return values[below] + (place - below) * (values[above] - values[below]);
}

// Index within 0 to size - 1, mirrored at the edge pixels (OpenCV's BORDER_REFLECT_101).
inline int mirrored(int index, int size) {
  while (index < 0 || index >= size) index = index < 0 ? -index : 2 * (size - 1) - index;
  return index;
}

// Let a box, empty at first, reach to a pixel; pixels come row by row.
inline void extend(Box& box, int x, int y) {
  if (box.height == 0) box = {x, y, 1, 1};
  const int right = std::max(box.x + box.width, x + 1);
  box.x = std::min(box.x, x);
  box.width = right - box.x;
  box.height = y + 1 - box.y;
}

// What a mask is within.
inline Box bounds_of(const std::vector<std::uint8_t>& mask, int height, int width) {
  Box bounds;
  for (int i = 0; i < height * width; ++i)
    if (mask[i]) extend(bounds, i % width, i / width);
  return bounds;
}

// --- Before the graph ---------------------------------------------------------------------------

// Mean of step x step pixels, every step-th in both directions.
inline Image reduced(const Image& image, int step) {
  Image result((image.height + step - 1) / step, (image.width + step - 1) / step);
  for (int y = 0; y < result.height; ++y)
    for (int x = 0; x < result.width; ++x) {
      double sum = 0;
      for (int dy = -(step / 2); dy < step - step / 2; ++dy)
        for (int dx = -(step / 2); dx < step - step / 2; ++dx)
          sum += image.at(mirrored(y * step + dy, image.height),
                          mirrored(x * step + dx, image.width));
      result.at(y, x) = static_cast<float>(sum / (step * step));
    }
  return result;
}

inline Image blurred(const Image& image, double sigma) {
  const int radius = static_cast<int>(std::nearbyint(sigma * 8 + 1)) / 2;
  std::vector<double> kernel(2 * radius + 1);
  for (int i = -radius; i <= radius; ++i)
    kernel[i + radius] = std::exp(-i * i / (2 * sigma * sigma));
  const double sum = std::accumulate(kernel.begin(), kernel.end(), 0.0);
  Image across(image.height, image.width), result(image.height, image.width);
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      double value = 0;
      for (int i = -radius; i <= radius; ++i)
        value += kernel[i + radius] * image.at(y, mirrored(x + i, image.width));
      across.at(y, x) = static_cast<float>(value / sum);
    }
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      double value = 0;
      for (int i = -radius; i <= radius; ++i)
        value += kernel[i + radius] * across.at(mirrored(y + i, image.height), x);
      result.at(y, x) = static_cast<float>(value / sum);
    }
  return result;
}

// Labels, from 1, of the 8-connected (or 4-connected) parts of a mask; 0 outside.
inline std::vector<int> labelled(const std::vector<std::uint8_t>& mask, int height, int width,
                                 bool diagonal, int& count) {
  std::vector<int> labels(mask.size(), 0), waiting;
  count = 0;
  for (int start = 0; start < height * width; ++start) {
    if (!mask[start] || labels[start]) continue;
    labels[start] = ++count;
    waiting.push_back(start);
    while (!waiting.empty()) {
      const int y = waiting.back() / width, x = waiting.back() % width;
      waiting.pop_back();
      for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
          if (!diagonal && dy && dx) continue;
          const int v = y + dy, u = x + dx;
          if (v < 0 || v >= height || u < 0 || u >= width) continue;
          const int next = v * width + u;
          if (mask[next] && !labels[next]) {
            labels[next] = count;
            waiting.push_back(next);
          }
        }
    }
  }
  return labels;
}

// The largest thing above a level, with its holes filled.
inline std::vector<std::uint8_t> head_mask(const Image& image, double level) {
  const int height = image.height, width = image.width;
  const Image smooth = blurred(image, std::max(height, width) / 128.0);
  std::vector<std::uint8_t> above(smooth.pixels.size()), largest(above.size(), 0);
  for (std::size_t i = 0; i < above.size(); ++i) above[i] = smooth.pixels[i] > level;
  int parts = 0;
  const auto labels = labelled(above, height, width, true, parts);
  std::vector<Box> around_it(parts + 1);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) extend(around_it[labels[y * width + x]], x, y);
  const auto room = [&](int part) {
    return static_cast<std::size_t>(around_it[part].width) * around_it[part].height;
  };
  std::vector<int> order(parts);
  std::iota(order.begin(), order.end(), 1);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return room(a) > room(b); });
  std::size_t most = 0;
  for (const int part : order) {
    if (room(part) <= most) break;  // no part is larger than the rectangle around it
    std::vector<std::uint8_t> outside(above.size());
    for (std::size_t i = 0; i < above.size(); ++i) outside[i] = labels[i] != part;
    int regions = 0;
    const auto around = labelled(outside, height, width, false, regions);
    std::vector<std::uint8_t> open(regions + 1, 0);  // those that reach the image's edge
    for (int y = 0; y < height; ++y)
      for (int x = 0; x < width; ++x)
        if (y == 0 || x == 0 || y == height - 1 || x == width - 1) open[around[y * width + x]] = 1;
    open[0] = 0;  // the part itself
    std::vector<std::uint8_t> filled(above.size());
    std::size_t size = 0;
    for (std::size_t i = 0; i < above.size(); ++i) size += filled[i] = !open[around[i]];
    if (size > most) most = size, largest = filled;
  }
  return largest;
}

// Distance of every pixel of a mask from what is outside: a chamfer distance of 5 x 5 pixels,
// added up in single precision, as OpenCV does.
inline std::vector<float> depth(const std::vector<std::uint8_t>& mask, int height, int width) {
  struct Step { int dy, dx; float length; };
  const Step steps[] = {{0, -1, 1.f},       {-1, 0, 1.f},      {-1, -1, 1.4f},     {-1, 1, 1.4f},
                        {-1, -2, 2.1969f}, {-1, 2, 2.1969f}, {-2, -1, 2.1969f}, {-2, 1, 2.1969f}};
  std::vector<float> distance(mask.size());
  for (std::size_t i = 0; i < mask.size(); ++i) distance[i] = mask[i] ? 1e9f : 0.f;
  for (const int sign : {1, -1})
    for (int i = 0; i < height * width; ++i) {
      const int place = sign > 0 ? i : height * width - 1 - i;
      const int y = place / width, x = place % width;
      for (const Step& step : steps) {
        const int v = y + sign * step.dy, u = x + sign * step.dx;
        if (v >= 0 && v < height && u >= 0 && u < width)
          distance[place] = std::min(distance[place], distance[v * width + u] + step.length);
      }
    }
  return distance;
}

// Where the head is, and how bright its brain: one normalisation for at most 32 slices of a series.
inline Normalisation estimate_normalisation(const std::vector<Image>& slices, double row_mm,
                                            double column_mm, double margin) {
  const int step = std::max(1, std::min(slices.at(0).height, slices[0].width) / 128);
  std::vector<Image> planes;
  std::vector<double> all;
  for (const Image& slice : slices) {
    planes.push_back(reduced(slice, step));
    all.insert(all.end(), planes.back().pixels.begin(), planes.back().pixels.end());
  }
  const double black = quantile(all, 0.01), level = 0.12 * (quantile(all, 0.99) - black);
  std::vector<double> lefts, tops, rights, bottoms, inside;
  for (const Image& plane : planes) {
    Image lifted = plane;
    for (float& value : lifted.pixels) value -= static_cast<float>(black);
    const auto head = head_mask(lifted, level);
    const auto size = std::accumulate(head.begin(), head.end(), std::size_t{0});
    if (size <= 0.02 * head.size()) continue;
    const Box bounds = bounds_of(head, plane.height, plane.width);
    lefts.push_back(bounds.x), rights.push_back(bounds.x + bounds.width);
    tops.push_back(bounds.y), bottoms.push_back(bounds.y + bounds.height);
    const auto deep = depth(head, plane.height, plane.width);
    for (std::size_t i = 0; i < head.size(); ++i)
      if (deep[i] > 0.2 * std::min(bounds.width, bounds.height) && plane.pixels[i] > black + level)
        inside.push_back(plane.pixels[i]);
  }
  if (inside.empty()) throw std::runtime_error("no-head");
  const double left = quantile(lefts, 0.15) * step, right = quantile(rights, 0.85) * step;
  const double top = quantile(tops, 0.15) * step, bottom = quantile(bottoms, 0.85) * step;
  const double side =
      std::max((right - left) * column_mm, (bottom - top) * row_mm) * (1 + 2 * margin);
  Normalisation norm;  // std::nearbyint rounds halves to even, as Python does
  norm.box.width = std::max(static_cast<int>(std::nearbyint(side / column_mm)), 8);
  norm.box.height = std::max(static_cast<int>(std::nearbyint(side / row_mm)), 8);
  norm.box.x = static_cast<int>(std::nearbyint((left + right - norm.box.width) / 2));
  norm.box.y = static_cast<int>(std::nearbyint((top + bottom - norm.box.height) / 2));
  norm.black = black;
  norm.brain = quantile(inside, 0.5);
  return norm;
}

// Bilinear, pixel centres at u = (x + 1/2) * source / target - 1/2, edges repeated.
inline Image resized_linear(const Image& image, int height, int width) {
  Image result(height, width);
  for (int y = 0; y < height; ++y) {
    const double v = (y + 0.5) * image.height / height - 0.5;
    const int row = static_cast<int>(std::floor(v));
    const int y0 = std::clamp(row, 0, image.height - 1);
    const int y1 = std::clamp(row + 1, 0, image.height - 1);
    for (int x = 0; x < width; ++x) {
      const double u = (x + 0.5) * image.width / width - 0.5;
      const int column = static_cast<int>(std::floor(u));
      const int x0 = std::clamp(column, 0, image.width - 1);
      const int x1 = std::clamp(column + 1, 0, image.width - 1);
      const double upper = image.at(y0, x0) + (u - column) * (image.at(y0, x1) - image.at(y0, x0));
      const double lower = image.at(y1, x0) + (u - column) * (image.at(y1, x1) - image.at(y1, x0));
      result.at(y, x) = static_cast<float>(upper + (v - row) * (lower - upper));
    }
  }
  return result;
}

// How much of each of `source` pixels goes into one of `target` pixels, when shrinking.
inline std::vector<std::vector<std::pair<int, double>>> shares(int source, int target) {
  std::vector<std::vector<std::pair<int, double>>> result(target);
  const double scale = static_cast<double>(source) / target;
  for (int i = 0; i < target; ++i)
    for (int j = static_cast<int>(i * scale); j < source && j < (i + 1) * scale; ++j) {
      const double part = std::min(j + 1.0, (i + 1) * scale) - std::max<double>(j, i * scale);
      if (part > 1e-9) result[i].emplace_back(j, part / scale);
    }
  return result;
}

inline Image resized_area(const Image& image, int height, int width) {
  const auto down = shares(image.height, height), across = shares(image.width, width);
  Image result(height, width);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      double value = 0;
      for (const auto& [row, part] : down[y])
        for (const auto& [column, piece] : across[x]) value += part * piece * image.at(row, column);
      result.at(y, x) = static_cast<float>(value);
    }
  return result;
}

// A slice on the model's grid, size x size, on which black is 0 and the brain's median brain_level.
inline Image on_grid(const Image& image, const Normalisation& norm, int size, double brain_level) {
  const Box& box = norm.box;
  Image cut(box.height, box.width, static_cast<float>(norm.black));
  for (int y = std::max(box.y, 0); y < std::min(box.y + box.height, image.height); ++y)
    for (int x = std::max(box.x, 0); x < std::min(box.x + box.width, image.width); ++x)
      cut.at(y - box.y, x - box.x) = image.at(y, x);
  Image result = std::min(box.width, box.height) > size ? resized_area(cut, size, size)
                                                        : resized_linear(cut, size, size);
  const double scale = brain_level / (norm.brain - norm.black);
  for (float& value : result.pixels) value = static_cast<float>((value - norm.black) * scale);
  return result;
}

inline Image clipped(Image image) {
  for (float& value : image.pixels) value = std::clamp(value, 0.f, 1.f);
  return image;
}

// The model's input, size x size, in [0, 1], of a model whose card has no shading.
inline Image prepared(const Image& image, const Normalisation& norm, int size, double brain_level) {
  return clipped(on_grid(image, norm, size, brain_level));
}

// Whether the model's input shows enough of a head to be analysed.
inline bool shows_head(const Image& input, double brain_level, double head_level,
                       double minimum_head) {
  const auto head = head_mask(input, head_level * brain_level);
  const auto size = std::accumulate(head.begin(), head.end(), std::size_t{0});
  return size >= minimum_head * head.size();
}

// --- After the graph ----------------------------------------------------------------------------

inline double slice_score(const Image& anomaly_map, double top_fraction) {
  std::vector<float> values = anomaly_map.pixels;
  const auto count = static_cast<std::size_t>(
      std::max(1.0, std::nearbyint(top_fraction * static_cast<double>(values.size()))));
  std::nth_element(values.begin(), values.begin() + (count - 1), values.end(), std::greater<>());
  return std::accumulate(values.begin(), values.begin() + count, 0.0) / count;
}

// A slice's map averaged with its neighbours', by the card's weights. `beside` are as many maps as
// weights, in the order of the slices, the own one in the middle; null where there is none.
inline Image averaged(const std::vector<const Image*>& beside, const std::vector<double>& weights) {
  double whole = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) whole += beside[k] ? weights[k] : 0;
  Image result(beside[beside.size() / 2]->height, beside[beside.size() / 2]->width);
  for (std::size_t k = 0; k < weights.size(); ++k)
    for (std::size_t i = 0; beside[k] && i < result.pixels.size(); ++i)
      result.pixels[i] += static_cast<float>(weights[k] / whole) * beside[k]->pixels[i];
  return result;
}

inline double series_score(std::vector<double> slice_scores, std::size_t series_top) {
  std::sort(slice_scores.rbegin(), slice_scores.rend());
  const std::size_t count = std::min(series_top, slice_scores.size());
  return std::accumulate(slice_scores.begin(), slice_scores.begin() + count, 0.0) / count;
}

// Conformal p-value of a score, against tumour-free scores in rising order.
inline double p_value(double score, const std::vector<double>& healthy) {
  const auto at_least =
      healthy.end() - std::lower_bound(healthy.begin(), healthy.end(), score);
  return (1.0 + at_least) / (healthy.size() + 1.0);
}

// The map on the pixels of the source, zero outside the box.
inline Image to_source(const Image& anomaly_map, const Box& box, int height, int width) {
  const Image patch = resized_linear(anomaly_map, box.height, box.width);
  Image result(height, width);
  for (int y = std::max(box.y, 0); y < std::min(box.y + box.height, height); ++y)
    for (int x = std::max(box.x, 0); x < std::min(box.x + box.width, width); ++x)
      result.at(y, x) = patch.at(y - box.y, x - box.x);
  return result;
}

// Connected parts above the threshold, highest peak first; minimum_area in pixels of the source.
inline std::vector<Region> find_regions(const Image& on_source, double threshold,
                                        double minimum_area) {
  std::vector<std::uint8_t> above(on_source.pixels.size());
  for (std::size_t i = 0; i < above.size(); ++i)
    above[i] = on_source.pixels[i] > static_cast<float>(threshold);
  int count = 0;
  const auto labels = labelled(above, on_source.height, on_source.width, true, count);
  std::vector<Region> regions(count);
  for (int y = 0; y < on_source.height; ++y)
    for (int x = 0; x < on_source.width; ++x) {
      const int label = labels[y * on_source.width + x];
      if (!label) continue;
      Region& region = regions[label - 1];
      extend(region.box, x, y);
      region.centroid_x += x, region.centroid_y += y;
      region.peak = std::max(region.peak, on_source.at(y, x));
      ++region.area;
    }
  for (Region& region : regions)
    region.centroid_x /= region.area, region.centroid_y /= region.area;
  regions.erase(std::remove_if(regions.begin(), regions.end(),
                               [&](const Region& r) { return r.area < minimum_area; }),
                regions.end());
  std::sort(regions.begin(), regions.end(),
            [](const Region& a, const Region& b) { return a.peak > b.peak; });
  return regions;
}

}  // namespace gliomart
