// `instep audit`: who came to a run's hub, and what became of them.
#include <cstdio>

#include "base/text.h"
#include "cli/commands.h"
#include "coord/audit.h"
#include "coord/run_dir.h"

namespace instep::cli {
namespace {

void print_events(const std::vector<coord::AuditEvent>& events) {
  std::vector<std::vector<std::string>> rows = {
      {"TIME", "WHAT", "TIMES", "HOST", "NAME", "ADDRESS", "REASON"}};
  for (const coord::AuditEvent& event : events) {
    rows.push_back({event.time, event.what, event.times > 1 ? cat("x", event.times) : "",
                    event.host ? cat(*event.host) : "", event.name, event.address, event.reason});
  }
  print_table(rows);
}

}  // namespace

int audit_command(const Options& options) {
  const auto run = coord::find_run(options.target);
  if (!run.ok()) return fail(run.error());
  const auto events = coord::read_audit(*run);
  if (!events.ok() && events.error().kind == ErrorKind::kNotFound) {
    return fail({ErrorKind::kNotFound,
                 cat("the run ", run->string(),
                     " has no audit log; was it started with `instep coordinator`?")});
  }
  if (!events.ok()) return fail(events.error());
  if (options.json) {
    for (const auto& event : *events) std::puts(coord::to_line(event).c_str());
  } else if (events->empty()) {
    std::puts("no events");
  } else {
    print_events(*events);
  }
  return 0;
}

}  // namespace instep::cli
