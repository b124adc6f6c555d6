#include "coord/audit.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "base/time.h"
#include "coord/run_dir.h"

namespace instep::coord {
namespace {

using Json = nlohmann::json;

constexpr const char* kMixed = "for several reasons";
constexpr const char* kFile = "audit.jsonl";
constexpr std::uint64_t kMostBytes = std::uint64_t{64} << 20;
constexpr std::int64_t kAlikeNs = kSecond;
constexpr std::uint32_t kMostStrangers = 4;  // lines a second

bool alike(const AuditEvent& a, const AuditEvent& b) {
  return a.what == b.what && a.host == b.host && a.name == b.name && a.reason == b.reason;
}

// Of somebody who is nobody here; there may be any number of them.
bool of_stranger(const AuditEvent& event) {
  return !event.host && (event.what == "turned away" || event.what == "refused");
}

std::string text_of(const Json& in, const char* key) {
  const auto found = in.find(key);
  return found != in.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Result<Audit> Audit::open(const std::filesystem::path& run_dir) {
  const auto path = run_dir / kFile;
  Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  if (!file.valid()) return os_error("write", path, errno);
  return Audit(std::move(file));
}

Status Audit::add(AuditEvent event, std::int64_t now_ns) {
  if (now_ns >= window_ns_ + kAlikeNs) {
    window_ns_ = now_ns;
    strangers_ = 0;
  }
  const bool again = written_ns_ != 0 && alike(event, newest_) && now_ns < written_ns_ + kAlikeNs;
  if (again || (of_stranger(event) && strangers_ >= kMostStrangers)) {
    mixed_ = mixed_ || !again;
    ++unwritten_;
    return {};
  }
  if (of_stranger(event)) ++strangers_;
  event.time = timestamp();
  if (unwritten_ > 0) {
    AuditEvent rest = newest_;
    rest.time = event.time;
    rest.times = std::exchange(unwritten_, 0);
    if (std::exchange(mixed_, false))
      rest = {rest.time, "turned away", {}, "", "", kMixed, rest.times};
    INSTEP_RETURN_IF_ERROR(write(rest));
  }
  newest_ = event;
  written_ns_ = now_ns;
  return write(event);
}

std::string to_line(const AuditEvent& event) {
  Json out = {{"time", event.time}, {"what", event.what}};
  if (event.host) out["host"] = *event.host;
  if (!event.name.empty()) out["name"] = event.name;
  if (!event.address.empty()) out["address"] = event.address;
  if (!event.reason.empty()) out["reason"] = event.reason;
  if (event.times > 1) out["times"] = event.times;
  // Names and reasons come from strangers: what is no UTF-8 is replaced.
  return out.dump(-1, ' ', true, Json::error_handler_t::replace);
}

Status Audit::write(const AuditEvent& event) {
  const std::string line = to_line(event) + "\n";
  // Nothing follows from a stranger's, and waiting for the disk would be what he wants.
  if (::write(file_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
      (!of_stranger(event) && ::fdatasync(file_.get()) != 0)) {
    return os_error("write", "the audit log", errno);
  }
  return {};
}

Result<std::vector<AuditEvent>> read_audit(const std::filesystem::path& run_dir) {
  INSTEP_ASSIGN_OR_RETURN(const std::string text, read_file(run_dir / kFile, kMostBytes));
  std::vector<AuditEvent> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const Json in = Json::parse(text.substr(at, end - at), nullptr, false);
    at = end + 1;
    if (!in.is_object()) continue;
    AuditEvent& event = out.emplace_back();
    event.time = text_of(in, "time");
    event.what = text_of(in, "what");
    event.name = text_of(in, "name");
    event.address = text_of(in, "address");
    event.reason = text_of(in, "reason");
    if (const auto host = in.find("host"); host != in.end() && host->is_number_unsigned() &&
                                           host->get<std::uint64_t>() <= UINT32_MAX) {
      event.host = host->get<std::uint32_t>();
    }
    if (const auto times = in.find("times"); times != in.end() && times->is_number_unsigned()) {
      event.times = times->get<std::uint64_t>();
    }
  }
  return out;
}

}  // namespace instep::coord
