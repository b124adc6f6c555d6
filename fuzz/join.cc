// What a host that joins says and is told: the join line, addresses, a certificate request; and the
// book of tokens.
#include "fabric/join_line.h"

#include "fabric/address.h"
#include "fabric/authority.h"
#include "fabric/token_book.h"
#include "input.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::text_of(fuzz::bytes_of(data, size));
  const auto write = [](const auto& it) { return fabric::to_text(it); };
  if (const auto line = fabric::parse_join_line(text); line.ok()) {
    fuzz::expect_same_again(*line, fabric::parse_join_line, write);
  }
  const auto read_address = [](std::string_view it) { return fabric::parse_address(it, 4600); };
  if (const auto address = read_address(text); address.ok()) {
    fuzz::expect_same_again(*address, read_address, write);
  }
  const auto read_tokens = [](std::string_view it) { return fabric::tokens_from_json(it, "book"); };
  if (const auto tokens = read_tokens(text); tokens.ok()) {
    fuzz::expect_same_again(*tokens, read_tokens,
                            [](const auto& it) { return fabric::to_json(it); });
    for (const fabric::Token& token : *tokens) {
      for (const std::int64_t now : {INT64_MIN, std::int64_t{0}, INT64_MAX}) {
        (void)fabric::to_status({fabric::judge(token, now), token});
      }
    }
  }
  static const fabric::Authority kAuthority = fabric::Authority::make("fuzz").take();
  (void)kAuthority.sign(std::string(text), "host-2");
  (void)fabric::fingerprint_of(std::string(text));
  return 0;
}

}  // namespace instep
