#include "base/file.h"

#include <fcntl.h>

#include <array>

#include "base/testing_folder.h"

namespace instep {
namespace {

class ReadAt : public FolderTest {
 protected:
  Status read(std::uint64_t from, std::span<char> to) {
    const Fd fd(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    return read_at(fd.get(), from, std::as_writable_bytes(to), path_);
  }
  const std::filesystem::path path_ = folder_ / "file";
};

TEST_F(ReadAt, ReadsWhatIsThereUpToTheEnd) {
  ASSERT_TRUE(write_file_atomically(path_, "0123456789").ok());
  std::array<char, 4> out{};
  ASSERT_TRUE(read(2, out).ok());
  EXPECT_EQ(std::string_view(out.data(), out.size()), "2345");
  ASSERT_TRUE(read(6, out).ok());
  EXPECT_EQ(std::string_view(out.data(), out.size()), "6789");
  EXPECT_TRUE(read(10, {}).ok());
}

TEST_F(ReadAt, NamesAFileThatEndsBefore) {
  ASSERT_TRUE(write_file_atomically(path_, "0123456789").ok());
  std::array<char, 4> out{};
  for (const std::uint64_t from : {7, 10, 99}) {
    const Status status = read(from, out);
    ASSERT_FALSE(status.ok()) << from;
    EXPECT_EQ(status.error().kind, ErrorKind::kCorrupt);
    EXPECT_EQ(status.error().message, path_.string() + " was cut short");
  }
}

TEST_F(ReadAt, NamesAFileThatCannotBeRead) {
  std::array<char, 4> out{};
  const Status status = read_at(-1, 0, std::as_writable_bytes(std::span(out)), path_);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.error().message, "cannot read " + path_.string() + ": Bad file descriptor");
}

}  // namespace
}  // namespace instep
