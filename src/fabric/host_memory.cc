#include "fabric/host_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <new>

#include "base/machine.h"
#include "base/text.h"

namespace instep::fabric {
namespace {

// Address space of one sparse file: all of the machine's memory and some more, so that what runs
// out first is memory and never the file. At least 16 GiB, so that small machines behave alike.
std::uint64_t sparse_bytes() {
  constexpr std::uint64_t kGiB = 1ULL << 30;
  const std::uint64_t whole = (total_memory() / kGiB + 1) * kGiB;
  return whole < 16 * kGiB ? 16 * kGiB : whole;
}

}  // namespace

Result<HostFiles> make_host_files(std::uint32_t slots, bool world) {
  INSTEP_CHECK(slots >= 1 && slots <= kMaxSlots, "slots of a host");
  HostFiles files;
  INSTEP_ASSIGN_OR_RETURN(files.control, make_memory_file("instep-control", sizeof(ControlPage)));
  INSTEP_ASSIGN_OR_RETURN(files.state, make_memory_file("instep-state", sparse_bytes()));
  if (world) {
    INSTEP_ASSIGN_OR_RETURN(files.world, make_memory_file("instep-world", sparse_bytes()));
  }
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    INSTEP_ASSIGN_OR_RETURN(Fd arena, make_memory_file(cat("instep-arena-", slot), sparse_bytes()));
    files.arenas.push_back(std::move(arena));
  }
  INSTEP_ASSIGN_OR_RETURN(const Mapping control, Mapping::map(files.control, true));
  auto* page = new (control.data()) ControlPage();
  page->magic = kHostMagic;
  page->slots = slots;
  return files;
}

Standing standing(const AgentWords& words) {
  // Of a living agent the entry may be gone by the time it is read: look again.
  for (int look = 0; look < 100; ++look) {
    const Attempt& at = words.attempts[words.newest.load(std::memory_order_acquire) % 4];
    const Ticket ticket = at.ticket.load(std::memory_order_acquire);
    Standing out;
    out.op = at.op.load(std::memory_order_acquire);
    const bool finishes = at.finishes.load(std::memory_order_acquire) != 0;
    const auto& word = finishes ? words.finished : words.published;
    out.view = view_of(ticket);
    out.done = ticket != 0 && word.load(std::memory_order_acquire) >= ticket;
    if (at.ticket.load(std::memory_order_acquire) == ticket) return out;
  }
  return {};
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, size_);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Result<Mapping> Mapping::map(const Fd& file, bool writable) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return os_error("map", "shared memory", errno);
  Mapping mapping;
  mapping.size_ = static_cast<std::uint64_t>(info.st_size);
  void* at = ::mmap(nullptr, mapping.size_, writable ? PROT_READ | PROT_WRITE : PROT_READ,
                    MAP_SHARED | MAP_NORESERVE, file.get(), 0);
  if (at == MAP_FAILED) {
    const int error = errno;
    mapping.size_ = 0;
    if (error == ENOMEM) {
      return Error{ErrorKind::kNoMemory,
                   cat("cannot reserve ", human_bytes(double(info.st_size)),
                       " of address space for shared memory; raise the limit (ulimit -v)")};
    }
    return os_error("map", "shared memory", error);
  }
  mapping.data_ = static_cast<std::byte*>(at);
  return mapping;
}

ControlPage* control_page(const Mapping& mapping) {
  INSTEP_CHECK(mapping.size() >= sizeof(ControlPage), "size of the control page");
  auto* page = std::launder(reinterpret_cast<ControlPage*>(mapping.data()));
  INSTEP_CHECK(page->magic == kHostMagic, "magic of the control page");
  return page;
}

}  // namespace instep::fabric
