// Runs a gliomart model with the ONNX Runtime C++ API (1.21 or later), here on the worked example.
//
// Needs onnxruntime_cxx_api.h with its library, and nlohmann/json.hpp for the card:
//   g++ -std=c++17 session.cpp -lonnxruntime -o session && ./session flair-dae.onnx
#include <onnxruntime_cxx_api.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "example.hpp"
#include "shading.hpp"

namespace gliomart {

struct Finding {
  double score = 0, p_value = 1;
  bool flagged = false;
  std::vector<Region> regions;
};

class Model {
 public:
  // One per process and model: any number of threads may call analyse() at once.
  explicit Model(const std::filesystem::path& path, int threads = 0)
      : session_(environment(), path.c_str(), options(threads)) {
    Ort::AllocatorWithDefaultOptions allocator;
    const auto text =
        session_.GetModelMetadata().LookupCustomMetadataMapAllocated("gliomart", allocator);
    if (!text) throw std::runtime_error("the file carries no gliomart card");
    card_ = nlohmann::json::parse(text.get());
    const int schema = card_.at("schema");
    if (schema < 4 || schema > 6) throw std::runtime_error("a card of another schema");
    if (schema > 4 && (card_.at("family").get<std::string>() != "slice" ||
                       card_.at("images").size() != 1 ||
                       !card_.at("scoring").at("scalp").is_null()))
      throw std::runtime_error("a model that asks for more than is done here");
    if (card_.at("preprocessing").at("channels") != nlohmann::json{"plain"})
      throw std::runtime_error("channels that gliomart.hpp does not make");
  }

  // A whole series in order, all of one size; nothing for a slice that shows no head. One image
  // that has no series is `alone`.
  std::vector<std::optional<Finding>> analyse(const std::vector<Image>& slices, double row_mm,
                                              double column_mm, bool alone = false) const {
    const auto& before = card_.at("preprocessing");
    const double brain_level = before.at("brain_level");
    const std::vector<int> numbers = sampled(static_cast<int>(slices.size()));
    std::vector<Image> sample;
    for (const int number : numbers) sample.push_back(slices[number]);
    const auto norm = estimate_normalisation(sample, row_mm, column_mm, before.at("margin"));
    std::optional<Field> field;
    if (const auto rules = shading())
      field = estimate_field(sample, numbers, norm, brain_level, before.at("head_level"), *rules);

    std::vector<std::optional<Image>> maps;
    for (std::size_t i = 0; i < slices.size(); ++i) {
      const int size = before.at("size");
      const Image input =
          field ? prepared(slices[i], norm, at(*field, int(i)), size, brain_level)
                : prepared(slices[i], norm, size, brain_level);
      const bool shown =
          shows_head(input, brain_level, before.at("head_level"), before.at("minimum_head"));
      maps.push_back(shown ? std::optional<Image>(anomaly_map(input)) : std::nullopt);
    }
    std::vector<std::optional<Finding>> findings(slices.size());
    const auto weights = card_.at("scoring").value("neighbours", std::vector<double>{});
    for (std::size_t i = 0; i < slices.size(); ++i) {
      if (!maps[i]) continue;
      const auto beside = neighbours(maps, i, weights.size());
      // A slice of a series none of whose neighbours was analysed is scored as an image alone is.
      const auto analysed = std::count_if(beside.begin(), beside.end(),
                                          [](const Image* map) { return map != nullptr; });
      const bool by_itself = alone || analysed == 1;
      const Image scored = beside.empty() ? *maps[i] : averaged(beside, weights);
      findings[i] = judged(*maps[i], scored, slices[i], norm, by_itself);
    }
    return findings;
  }

 private:
  // How uneven light is undone; nothing where it is left, as by all cards before schema 6.
  std::optional<Shading> shading() const {
    const auto& before = card_.at("preprocessing");
    if (!before.contains("shading") || before.at("shading").is_null()) return std::nullopt;
    const auto& rules = before.at("shading");
    return Shading{rules.at("side"),      rules.at("levels"), rules.at("steps"),
                   rules.at("sharpness"), rules.at("limit"),  rules.at("disagreement")};
  }

  Image anomaly_map(Image input) const {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::array<std::int64_t, 4> shape{1, input.height, input.width, 1};
    const Ort::Value image = Ort::Value::CreateTensor<float>(
        memory, input.pixels.data(), input.pixels.size(), shape.data(), shape.size());
    const char* inputs[] = {"image"};
    const char* outputs[] = {"anomaly_map"};
    const auto results =
        session_.Run(Ort::RunOptions{nullptr}, inputs, &image, 1, outputs, std::size(outputs));

    Image map(input.height, input.width);  // restricted to the brain already
    const float* values = results[0].GetTensorData<float>();
    std::copy(values, values + map.pixels.size(), map.pixels.begin());
    for (const float value : map.pixels)
      if (!std::isfinite(value)) throw std::runtime_error("the graph gave no finite map");
    return map;
  }

  // So many maps in a row, a slice's own in the middle; nothing where one is missing.
  static std::vector<const Image*> neighbours(const std::vector<std::optional<Image>>& maps,
                                              std::size_t number, std::size_t count) {
    std::vector<const Image*> beside;
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t other = number + k - count / 2;  // below 0 it is very large
      beside.push_back(other < maps.size() && maps[other] ? &*maps[other] : nullptr);
    }
    return beside;
  }

  // Its outlines are those of its own map.
  Finding judged(const Image& own, const Image& scored, const Image& slice,
                 const Normalisation& norm, bool by_itself) const {
    const auto& scoring = card_.at("scoring");
    const auto& calibration = card_.at("calibration");
    const bool single = by_itself && calibration.contains("single_scores") &&
                        !calibration.at("single_scores").is_null();
    Finding finding;
    finding.score = slice_score(scored, scoring.at("top_fraction"));
    finding.p_value =
        p_value(finding.score, calibration.at(single ? "single_scores" : "slice_scores"));
    finding.flagged = finding.p_value <= calibration.at("false_alarm_rate").get<double>();
    const double pixels_per_pixel = static_cast<double>(norm.box.width) * norm.box.height /
                                    static_cast<double>(own.pixels.size());
    finding.regions = find_regions(to_source(own, norm.box, slice.height, slice.width),
                                   calibration.at("pixel_threshold"),
                                   scoring.at("minimum_area_px").get<double>() * pixels_per_pixel);
    return finding;
  }

  static Ort::Env& environment() {
    static Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "gliomart");
    return env;
  }

  static Ort::SessionOptions options(int threads) {
    Ort::SessionOptions options;
    options.SetIntraOpNumThreads(threads);  // 0: one per core
    // Spinning threads starve whatever else the workstation does, and each other.
    options.AddConfigEntry("session.intra_op.allow_spinning", "0");
    return options;
  }

  mutable Ort::Session session_;  // running it changes nothing that can be seen
  nlohmann::json card_;
};

}  // namespace gliomart

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const gliomart::Model model(arguments[1]);
  const gliomart::Image slice = gliomart::synthetic(320, 272);
  const gliomart::Finding finding = model.analyse({slice}, 0.9, 0.8, true).at(0).value();
  std::printf("slice %.9g %.9g\n", finding.score, finding.p_value);
  for (const gliomart::Region& region : finding.regions)
    std::printf("slice_region %d %d %d %d %d\n", region.box.x, region.box.y,
                region.box.x + region.box.width, region.box.y + region.box.height, region.area);
}
