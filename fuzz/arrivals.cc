// What the first host sends to one that joins: pieces of a file and of the data's image, in any
// order, of any size.
#include "coord/arrivals.h"

#include <unistd.h>

#include <cstring>

#include "coord/host_frames.h"
#include "coord/job_files.h"
#include "input.h"

namespace instep {
namespace {

constexpr std::string_view kFile = "a file of the job's";

// Gone with the process, if that ends.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "instep-fuzz-XXXXXX").string();
    INSTEP_CHECK(::mkdtemp(pattern.data()) != nullptr, "a folder can be made");
    path_ = pattern;
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace

// Each piece: which goods, from where, of how many bytes in all, its own bytes, each a byte; then
// those. The highest bit of the first byte: what is due, whatever the others say.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder kFolder;
  const wire::HostFile file{"model.init", kFile.size(), sha256_hex(kFile)};
  coord::Arrivals arrivals(kFolder.path(), {file}, true);
  fuzz::Bytes rest = fuzz::bytes_of(data, size);
  while (rest.size() >= 4) {
    const auto number = [&rest](std::size_t i) { return std::to_integer<std::uint32_t>(rest[i]); };
    const std::size_t bytes = std::min<std::size_t>(number(3), rest.size() - 4);
    fabric::FrameHead head{coord::kPieceFrame, static_cast<std::uint32_t>(bytes), number(1),
                           number(2), number(0) & 0x7f};
    if (const auto due = arrivals.wants(); due && (number(0) & 0x80) != 0) {
      head.a = due->from;
      head.c = due->goods;
      if (due->goods == 0) head.b = kFile.size();
    }
    const fuzz::Bytes payload = rest.subspan(4, bytes);
    rest = rest.subspan(4 + bytes);
    if (bytes > 0) {
      const auto place = arrivals.place(head);
      if (!place.ok()) break;
      INSTEP_CHECK(place->size() == bytes, "a piece has its place");
      std::memcpy(place->data(), payload.data(), bytes);
    }
    if (!arrivals.took(head).ok()) break;
  }
  const auto due = arrivals.wants();
  const auto kept = read_file(coord::kept_file(kFolder.path(), file), 1 << 10);
  INSTEP_CHECK((!due || due->goods > 0) == kept.ok(), "what has come is kept, and nothing else");
  if (kept.ok()) {
    INSTEP_CHECK(*kept == kFile, "what is kept is the file");
    std::filesystem::remove(coord::kept_file(kFolder.path(), file));
  }
  if (const Fd image = arrivals.take_dataset(); !due) {
    const auto map = fabric::Mapping::map(image, false);
    INSTEP_CHECK(map.ok(), "the data has come");
    fuzz::use(map->data(), map->size());
  }
  return 0;
}

}  // namespace instep
