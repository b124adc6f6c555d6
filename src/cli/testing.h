// What the tests of commands share.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "base/testing_folder.h"
#include "cli/cli.h"

namespace instep::cli {

class CliTest : public WorkingFolderTest {
 protected:
  // Runs a command; what it wrote is in out_ and errors_.
  int instep(std::vector<std::string> words) {
    words.insert(words.begin(), "instep");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = run(static_cast<int>(argv.size()), argv.data(), 0);
    out_ = ::testing::internal::GetCapturedStdout();
    errors_ = ::testing::internal::GetCapturedStderr();
    return code;
  }
  bool says(const std::string& text) const { return errors_.find(text) != std::string::npos; }
  bool shows(const std::string& text) const { return out_.find(text) != std::string::npos; }
  static void write(const std::string& name, const std::string& text) {
    std::ofstream(name) << text;
  }

  std::string out_, errors_;
};

}  // namespace instep::cli
