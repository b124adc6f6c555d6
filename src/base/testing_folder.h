// Folders of a test's own, gone when the test ends.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace instep {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "instep-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // A file of it; gives its path.
  std::string write(const std::string& name, const std::string& content) const {
    const std::filesystem::path path = path_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

 private:
  std::filesystem::path path_;
};

class FolderTest : public ::testing::Test {
 private:
  const TestFolder made_;

 protected:
  const std::filesystem::path& folder_ = made_.path();
};

// That folder is where the test works, and its list of runs lies in it.
class WorkingFolderTest : public FolderTest {
 protected:
  WorkingFolderTest() {
    ::setenv("XDG_STATE_HOME", (folder_ / "state").c_str(), 1);
    std::filesystem::current_path(folder_);
  }
  ~WorkingFolderTest() override {
    std::filesystem::current_path(before_);
    ::unsetenv("XDG_STATE_HOME");
  }

 private:
  const std::filesystem::path before_ = std::filesystem::current_path();
};

}  // namespace instep
