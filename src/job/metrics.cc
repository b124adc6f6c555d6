#include <string_view>

#include "job/job.h"

namespace instep::job {

bool falls(std::string_view metric) {
  return metric == "loss" || metric == "mae" || metric == "perplexity";
}

bool fits(std::string_view metric, Loss loss) {
  if (metric == "loss") return true;
  if (metric == "mae") return loss == Loss::kMse || loss == Loss::kHuber;
  if (metric == "top-k" || metric == "perplexity") return loss == Loss::kCrossEntropy;
  return loss == Loss::kCrossEntropy || loss == Loss::kBce;
}

}  // namespace instep::job
