#include <zip.h>

#include <algorithm>

#include "base/text.h"
#include "data/csv_scanner.h"
#include "data/npy.h"
#include "data/readers.h"

namespace instep::data {
namespace {

constexpr std::string_view kSuffix = ".npy";  // which numpy adds to each array's name
constexpr const char* kAdvice = "; save it again with numpy.savez";

Error bad_entry(const std::string& name, const std::string& what) {
  return invalid(cat(name, " ", what, kAdvice));
}

// What an entry claims of itself, judged before memory is taken for it.
Status check_claims(const zip_stat_t& info, const std::string& name) {
  constexpr zip_uint64_t kNeeded =
      ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
  if ((info.valid & kNeeded) != kNeeded) return bad_entry(name, "has no size in its archive");
  if (info.encryption_method != ZIP_EM_NONE) return bad_entry(name, "is encrypted");
  if (info.comp_method != ZIP_CM_STORE && info.comp_method != ZIP_CM_DEFLATE) {
    return bad_entry(name, cat("is packed by method ", info.comp_method,
                               "; stored (0) and deflated (8) arrays are read"));
  }
  const bool stored = info.comp_method == ZIP_CM_STORE;
  const std::uint64_t most = stored ? info.comp_size : deflated_at_most(info.comp_size);
  if (info.size > most || (stored && info.size != info.comp_size)) {
    return bad_entry(name, cat("is damaged: it claims ", info.size, " bytes, but ", info.comp_size,
                               " packed bytes can hold at most ", most));
  }
  return {};
}

}  // namespace

Result<bool> is_npz(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const std::string start, read_beginning(path, 2));
  return start == "PK";
}

Result<NpzFile> NpzFile::open(const std::filesystem::path& path) {
  INSTEP_ASSIGN_OR_RETURN(const bool archive, is_npz(path));
  if (!archive) {
    return invalid(cat(path.string(), " is no NPZ archive; what numpy.savez wrote is due"));
  }
  int code = 0;
  zip_t* opened = ::zip_open(path.c_str(), ZIP_RDONLY, &code);
  if (opened == nullptr) {
    zip_error_t error;
    ::zip_error_init_with_code(&error, code);
    const Error out =
        bad_entry(path.string(), cat("is no whole NPZ archive: ", ::zip_error_strerror(&error)));
    ::zip_error_fini(&error);
    return out;
  }
  return NpzFile(path.string(), {opened, [](zip_t* it) { ::zip_discard(it); }});
}

std::string NpzFile::names() const {
  constexpr zip_int64_t kShown = 10;
  const zip_int64_t count = ::zip_get_num_entries(archive_.get(), 0);
  std::vector<std::string> shown;
  for (zip_int64_t i = 0; i < std::min(count, kShown); ++i) {
    const char* entry =
        ::zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    std::string_view text = entry == nullptr ? "" : entry;
    if (text.ends_with(kSuffix)) text.remove_suffix(kSuffix.size());
    shown.push_back(show_field(text));
  }
  if (count > kShown) shown.push_back(cat("and ", count - kShown, " more"));
  return shown.empty() ? "it is empty" : cat("it has ", join(shown, ", "));
}

Result<std::uint64_t> NpzFile::find(const std::string& key) const {
  const std::string full = cat(key, kSuffix);
  const zip_int64_t count = ::zip_get_num_entries(archive_.get(), 0);
  zip_int64_t found = -1;
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* entry =
        ::zip_get_name(archive_.get(), static_cast<zip_uint64_t>(i), ZIP_FL_ENC_RAW);
    if (entry == nullptr || (full != entry && key != entry)) continue;
    if (found >= 0) {
      return bad_entry(name_, cat("has the array ", show_field(key), " more than once"));
    }
    found = i;
  }
  if (found < 0) {
    return invalid(cat(name_, " has no array ", show_field(key), "; ", names(),
                       "; set data.samples_key and data.targets_key to what is meant"));
  }
  return static_cast<std::uint64_t>(found);
}

Result<Array> NpzFile::read(const std::string& key, Role role) const {
  INSTEP_ASSIGN_OR_RETURN(const std::uint64_t index, find(key));
  const std::string name = cat(name_, ", array ", show_field(key), ",");
  zip_stat_t info;
  ::zip_stat_init(&info);
  if (::zip_stat_index(archive_.get(), index, 0, &info) != 0) {
    return bad_entry(name, cat("cannot be read: ", ::zip_strerror(archive_.get())));
  }
  INSTEP_RETURN_IF_ERROR(check_claims(info, name));
  if (info.size == 0) return bad_entry(name, "is empty");
  const std::shared_ptr<zip_file_t> file(::zip_fopen_index(archive_.get(), index, 0),
                                         [](zip_file_t* it) {
                                           if (it != nullptr) ::zip_fclose(it);
                                         });
  if (!file) return bad_entry(name, cat("cannot be read: ", ::zip_strerror(archive_.get())));
  Bytes bytes{nullptr, info.size};
  INSTEP_ASSIGN_OR_RETURN(bytes.memory, allocate(bytes.size, cat(name, " unpacked")));
  // One byte more than there should be: the archive's checksum is judged at the end.
  constexpr std::uint64_t kStep = 1 << 26;
  std::byte beyond{};
  for (std::uint64_t filled = 0; filled <= bytes.size;) {
    const bool end = filled == bytes.size;
    std::byte* to = end ? &beyond : bytes.memory.get() + filled;
    const zip_int64_t got =
        ::zip_fread(file.get(), to, end ? 1 : std::min(kStep, bytes.size - filled));
    if (got < 0) {
      return bad_entry(name, cat("is damaged: ", ::zip_file_strerror(file.get())));
    }
    if (got == 0 && end) break;
    if (got == 0 || end) {
      return bad_entry(name, cat("is damaged: it claims ", bytes.size, " bytes and has ",
                                 got == 0 ? "fewer" : "more"));
    }
    filled += static_cast<std::uint64_t>(got);
  }
  return parse_npy(bytes, name, role);
}

}  // namespace instep::data
