// CIFAR-10 and CIFAR-100 in their binary version: records of one or two label bytes and an image of
// 3 x 32 x 32 bytes, plane after plane.
#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "data/readers.h"

namespace instep::data {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kImageBytes = std::uint64_t{3} * 32 * 32;
constexpr std::size_t kMaxFiles = 1000;  // of a folder; CIFAR-10 has five

// The label that is used is the last of a record: with CIFAR-100 the fine one.
struct Form {
  const char* name;
  std::uint64_t labels;
  std::int32_t classes;
  std::uint64_t record() const { return labels + kImageBytes; }
};
constexpr Form kForm10 = {"CIFAR-10", 1, 10};
constexpr Form kForm100 = {"CIFAR-100", 2, 100};

bool is_batch(const std::string& name) {
  return name.starts_with("data_batch_") && name.ends_with(".bin");
}

// A folder's files by what they are.
struct Folder {
  std::vector<fs::path> train, test;
};

Result<Folder> list_folder(const fs::path& folder) {
  Folder out;
  bool form10 = false;
  bool form100 = false;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool of10 = is_batch(name) || name == "test_batch.bin";
    const bool of100 = name == "train.bin" || name == "test.bin";
    if (!of10 && !of100) continue;
    form10 = form10 || of10;
    form100 = form100 || of100;
    (name.starts_with("test") ? out.test : out.train).push_back(it->path());
    if (out.train.size() > kMaxFiles) {
      return invalid(
          cat(folder.string(), " holds more than ", kMaxFiles, " files data_batch_*.bin"));
    }
  }
  if (error) return os_error("list", folder, error.value());
  if (form10 && form100) {
    return invalid(cat(folder.string(),
                       " holds files of both CIFAR-10 (data_batch_*.bin, "
                       "test_batch.bin) and CIFAR-100 (train.bin, test.bin); "
                       "give each a folder of its own"));
  }
  // data_batch_10 comes behind data_batch_9.
  std::sort(out.train.begin(), out.train.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename().string();
    const std::string y = b.filename().string();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return out;
}

// By the name where it is one of CIFAR's, else by the size, and where that is no answer by the
// labels.
const Form& form_of(const fs::path& path, const Bytes& bytes) {
  const std::string name = path.filename().string();
  if (is_batch(name) || name == "test_batch.bin") return kForm10;
  if (name == "train.bin" || name == "test.bin") return kForm100;
  if (bytes.size % kForm100.record() != 0) return kForm10;
  if (bytes.size % kForm10.record() != 0) return kForm100;
  for (std::uint64_t at = 0; at < bytes.size; at += kForm10.record()) {
    if (std::to_integer<std::int32_t>(bytes.memory.get()[at]) >= kForm10.classes) return kForm100;
  }
  return kForm10;
}

struct File {
  fs::path path;
  Bytes bytes;
  const Form* form;
  std::uint64_t records() const { return bytes.size / form->record(); }
};

Result<File> read_file_of_records(const fs::path& path) {
  File file{path, {}, nullptr};
  INSTEP_ASSIGN_OR_RETURN(file.bytes, read_bytes(path));
  file.form = &form_of(path, file.bytes);
  if (file.bytes.size % file.form->record() != 0) {
    return invalid(cat(path.string(), " has ", file.bytes.size,
                       " bytes, which is no whole number of images: a record of the binary version "
                       "has ",
                       kForm10.record(), " bytes (CIFAR-10) or ", kForm100.record(),
                       " (CIFAR-100); is the file whole?"));
  }
  return file;
}

Status copy_records(const File& file, std::byte*& images, std::int32_t*& labels) {
  const std::byte* at = file.bytes.memory.get();
  for (std::uint64_t i = 0; i < file.records(); ++i, at += file.form->record()) {
    const auto label = std::to_integer<std::int32_t>(at[file.form->labels - 1]);
    if (label >= file.form->classes) {
      return invalid(cat(file.path.string(), ": record ", i, " (counted from 0) has the label ",
                         label, "; ", file.form->name, " has 0 to ", file.form->classes - 1));
    }
    *labels++ = label;
    std::memcpy(images, at + file.form->labels, kImageBytes);
    images += kImageBytes;
  }
  return {};
}

Result<Table> read_files(const std::vector<fs::path>& paths) {
  std::vector<File> files;
  Table table;
  for (const fs::path& path : paths) {
    INSTEP_ASSIGN_OR_RETURN(File file, read_file_of_records(path));
    table.size += file.records();
    table.class_count = file.form->classes;
    files.push_back(std::move(file));
  }
  const std::string& name = files.front().path.string();
  INSTEP_ASSIGN_OR_RETURN(Memory images, allocate_array(table.size, kImageBytes, 1, name));
  INSTEP_ASSIGN_OR_RETURN(Memory labels, allocate_array(table.size, 1, sizeof(std::int32_t), name));
  std::byte* image = images.get();
  auto* label = reinterpret_cast<std::int32_t*>(labels.get());
  table.classes = label;
  for (const File& file : files) INSTEP_RETURN_IF_ERROR(copy_records(file, image, label));
  table.kind = Kind::kU8;
  table.shape = {3, 32, 32};
  table.values = images.get();
  table.scale = 1.0f / 255.0f;
  table.keep = keep_all({images, labels});
  return table;
}

bool is_folder(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

}  // namespace

Result<bool> cifar_has_test(const fs::path& path) {
  if (!is_folder(path)) return false;
  INSTEP_ASSIGN_OR_RETURN(const Folder folder, list_folder(path));
  return !folder.test.empty();
}

Result<Table> load_cifar(const fs::path& path, bool test) {
  if (!is_folder(path)) return read_files({path});
  INSTEP_ASSIGN_OR_RETURN(const Folder folder, list_folder(path));
  const std::vector<fs::path>& files = test ? folder.test : folder.train;
  if (files.empty()) {
    return invalid(cat("the folder ", path.string(), " holds no ",
                       test ? "test_batch.bin (CIFAR-10) and no test.bin (CIFAR-100)"
                            : "data_batch_*.bin (CIFAR-10) and no train.bin (CIFAR-100)",
                       "; unpack the binary version of CIFAR there, or name the folder with its "
                       "files"));
  }
  return read_files(files);
}

}  // namespace instep::data
