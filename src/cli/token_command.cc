// `instep token`: the tokens by which hosts may join a run.
#include <cstdio>
#include <ctime>

#include "base/machine.h"
#include "base/text.h"
#include "cli/commands.h"
#include "coord/audit.h"
#include "coord/hub_info.h"
#include "coord/run_dir.h"
#include "fabric/clock_text.h"
#include "fabric/token_book.h"

namespace instep::cli {
namespace fs = std::filesystem;
namespace {

std::string state_of(const fabric::Token& token, std::int64_t now) {
  switch (fabric::judge(token, now)) {
    case fabric::TokenVerdict::kRevoked:
      return "revoked";
    case fabric::TokenVerdict::kExpired:
      return "expired";
    case fabric::TokenVerdict::kUsedUp:
      return "used up";
    default:
      return "valid";
  }
}

Status list_tokens(const fs::path& run, fabric::TokenBook& book, std::int64_t now) {
  INSTEP_ASSIGN_OR_RETURN(const std::vector<fabric::Token> tokens, book.list());
  std::vector<std::vector<std::string>> rows = {
      {"TOKEN", "MADE", "VALID UNTIL", "USES LEFT", "USED", "STATE"}};
  for (const fabric::Token& token : tokens) {
    rows.push_back(
        {token.id, fabric::clock_text(token.made_unix_s),
         token.valid_until_unix_s ? fabric::clock_text(*token.valid_until_unix_s) : "the run's end",
         token.uses_left ? cat(*token.uses_left) : "any number", cat(token.used),
         state_of(token, now)});
  }
  if (tokens.empty()) {
    std::puts("no tokens");
  } else {
    print_table(rows);
  }
  if (!coord::is_held(run)) std::puts("the run is over: no token lets anybody in");
  return {};
}

Status note(const fs::path& run, const std::string& what) {
  INSTEP_ASSIGN_OR_RETURN(coord::Audit audit, coord::Audit::open(run));
  return audit.add({"", "token", std::nullopt, "", "", what}, monotonic_ns());
}

Status make_token(const Options& options, const fs::path& run, const coord::HubInfo& hub,
                  fabric::TokenBook& book, std::int64_t now) {
  if (!coord::is_held(run)) {
    return invalid(cat("the run ", run.string(), " is over; a token for it would let nobody in"));
  }
  std::optional<std::int64_t> until;
  if (options.ttl_s) until = now + *options.ttl_s;
  INSTEP_ASSIGN_OR_RETURN(const std::string token, book.make(options.uses, until, now));
  INSTEP_ASSIGN_OR_RETURN(const std::string line, coord::join_line(hub, token));
  INSTEP_RETURN_IF_ERROR(note(run, cat(token.substr(0, token.find('.')), " was made")));
  std::puts(line.c_str());
  return {};
}

Status revoke_token(const std::string& text, const fs::path& run, fabric::TokenBook& book) {
  // Of a whole token its secret is not shown again.
  const std::string id = text.substr(0, text.find('.'));
  INSTEP_RETURN_IF_ERROR(book.revoke(id));
  INSTEP_RETURN_IF_ERROR(note(run, cat(id, " was revoked")));
  std::printf("revoked %s; the hosts that it has let in stay\n", id.c_str());
  return {};
}

Status apply(const Options& options) {
  INSTEP_ASSIGN_OR_RETURN(const fs::path run, coord::find_run(options.target));
  INSTEP_ASSIGN_OR_RETURN(const coord::HubInfo hub, coord::read_hub_info(run));
  INSTEP_ASSIGN_OR_RETURN(fabric::TokenBook book,
                          fabric::TokenBook::open(coord::token_book_path(run)));
  const std::int64_t now = std::time(nullptr);
  if (options.make) return make_token(options, run, hub, book, now);
  if (options.revoke) return revoke_token(*options.revoke, run, book);
  return list_tokens(run, book, now);
}

}  // namespace

int token_command(const Options& options) {
  const Status status = apply(options);
  return status.ok() ? 0 : fail(status.error());
}

}  // namespace instep::cli
