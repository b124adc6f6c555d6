// Helpers of this folder's tests.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "job/job.h"

namespace instep::job {

using Sets = std::vector<std::string>;

inline Result<Resolved> read(std::string_view text, const Sets& sets = {},
                             const Sets& environment = {}) {
  return parse(text, "a.toml", "/jobs", sets, environment);
}

inline std::string complaint(std::string_view text, const Sets& sets = {},
                             const Sets& environment = {}) {
  const Result<Resolved> resolved = read(text, sets, environment);
  if (resolved.ok()) return "accepted";
  EXPECT_EQ(resolved.error().kind, ErrorKind::kInvalid);
  return resolved.error().message;
}

// Whether the parts stand in the text, in this order.
inline testing::AssertionResult says(const std::string& text,
                                     const std::vector<std::string>& parts) {
  std::size_t at = 0;
  for (const std::string& part : parts) {
    at = text.find(part, at);
    if (at == std::string::npos) return testing::AssertionFailure() << part << " not in: " << text;
    at += part.size();
  }
  return testing::AssertionSuccess();
}

}  // namespace instep::job
