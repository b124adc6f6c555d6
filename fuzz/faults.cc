// The texts of --fault and --chaos, in flags and in [faults].
#include "coord/drill.h"
#include "input.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(fuzz::bytes_of(data, size));
  (void)coord::parse_chaos(text);
  const auto faults = coord::parse_faults(text);
  if (!faults.ok()) return 0;
  for (const coord::Fault& fault : *faults) {
    const std::string once = coord::to_text(fault);
    const auto again = coord::parse_faults(once);
    INSTEP_CHECK(again.ok() && again->size() == 1 && coord::to_text(again->front()) == once,
                 "a fault is read as it was written");
  }
  return 0;
}

}  // namespace instep
