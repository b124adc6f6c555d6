#include "coord/first_host.h"

#include <fcntl.h>

#include <cerrno>
#include <ctime>
#include <future>

#include "base/machine.h"
#include "base/text.h"
#include "coord/hub_info.h"
#include "coord/joined_host.h"
#include "coord/peers.h"
#include "round/coding.h"

namespace instep::coord {
namespace {

// What others can type: of an address that means all of this machine's, its name.
std::string reachable(const std::string& host) {
  return host == "0.0.0.0" || host == "::" ? machine_name() : host;
}

Result<fabric::Authority> authority_of(const FirstHost::Plan& plan, const std::string& run) {
  if (!plan.shared) return fabric::Authority::make(run);
  return fabric::Authority::with_key(run, plan.shared->authority_key,
                                     fabric::usual_validity(std::time(nullptr)));
}

Result<std::vector<Hub::Goods>> open_goods(const std::filesystem::path& run_dir,
                                           const std::vector<wire::HostFile>& files) {
  std::vector<Hub::Goods> out;
  for (const wire::HostFile& file : files) {
    const std::filesystem::path path = kept_file(run_dir, file);
    Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return os_error("open", path, errno);
    out.push_back({path.string(), std::move(fd), file.bytes});
  }
  return out;
}

}  // namespace

std::string insecure_warning(const fabric::Address& address) {
  return cat("--insecure: anyone who reaches ", fabric::to_text(address),
             " can join this run, and so read and change what is trained");
}

Result<std::unique_ptr<FirstHost>> FirstHost::open(const Plan& plan) {
  std::unique_ptr<FirstHost> out(new FirstHost());
  const std::string run = plan.run_dir.filename().string();
  INSTEP_ASSIGN_OR_RETURN(fabric::Authority authority, authority_of(plan, run));
  INSTEP_ASSIGN_OR_RETURN(const fabric::Identity identity,
                          authority.issue(host_name(member::kFirstHost)));
  // First: where nobody can be heard nothing is written either.
  INSTEP_RETURN_IF_ERROR(out->listen(plan, identity));
  INSTEP_ASSIGN_OR_RETURN(fabric::TokenBook tokens, out->open_line(plan, authority));
  INSTEP_ASSIGN_OR_RETURN(Audit audit, Audit::open(plan.run_dir));
  const std::string address = fabric::to_text(fabric::Address{out->line_.host, out->line_.port});
  INSTEP_RETURN_IF_ERROR(write_hub_info(plan.run_dir, {address, out->line_.authority}));

  Bridge::Plan bridge;
  bridge.host = member::kFirstHost;
  bridge.identity = identity;
  bridge.coding = round::coding_of(plan.job);
  bridge.full_samples = round::full_samples(plan.job);
  bridge.compression = compression_of(plan.job);
  bridge.tell_hub = [it = out.get()](const wire::HostMessage& message) {
    it->hub_->hear(member::kFirstHost, message);
  };
  INSTEP_ASSIGN_OR_RETURN(out->bridge_, Bridge::make(out->loop_, std::move(bridge)));
  Hub::Plan hub;
  INSTEP_ASSIGN_OR_RETURN(hub.files, keep_job_files(plan.job, plan.run_dir));
  INSTEP_ASSIGN_OR_RETURN(hub.goods, open_goods(plan.run_dir, hub.files));
  out->files_ = local_files(plan.run_dir, hub.files);
  hub.run = run;
  hub.job_json = job::to_json(plan.job);
  hub.job_toml = plan.job_toml;
  hub.has_dataset = plan.job.data.format != job::DataFormat::kNone;
  hub.rules = plan.rules;
  hub.name = machine_name();
  hub.address = address;
  hub.agents = plan.agents;
  if (plan.insecure) hub.warning = insecure_warning({out->line_.host, out->line_.port});
  out->hub_ = std::make_unique<Hub>(out->loop_, std::move(hub), std::move(authority),
                                    std::move(tokens), std::move(audit));
  out->hub_->use(*out->bridge_);
  out->loop_.start();
  return out;
}

Result<fabric::TokenBook> FirstHost::open_line(const Plan& plan,
                                               const fabric::Authority& authority) {
  INSTEP_ASSIGN_OR_RETURN(fabric::TokenBook tokens,
                          fabric::TokenBook::open(token_book_path(plan.run_dir)));
  const std::int64_t now = std::time(nullptr);
  line_.host = plan.known_as ? plan.known_as->host : reachable(plan.listen.host);
  line_.port = plan.known_as ? plan.known_as->port : listener_->port();
  line_.authority = authority.fingerprint();
  if (plan.shared) {
    line_.token = plan.shared->token;
    INSTEP_RETURN_IF_ERROR(tokens.know(line_.token, now));
  } else {
    std::optional<std::int64_t> until;
    if (plan.token_seconds) until = now + *plan.token_seconds;
    INSTEP_ASSIGN_OR_RETURN(line_.token, tokens.make(std::nullopt, until, now));
  }
  return tokens;
}

// Before the loop runs: nobody comes in before the hub is there.
Status FirstHost::listen(const Plan& plan, const fabric::Identity& identity) {
  door_ = std::make_unique<Door>(
      [this](const Door::Link& link, const wire::HostMessage& message) {
        return hub_->first(link, message);
      },
      [this](const std::string& address, const Error& why) { hub_->turned_away(address, why); });
  fabric::ListenOptions options;
  options.allow_without_certificate = true;
  auto listener = fabric::TlsListener::start(
      loop_, plan.listen, identity, options,
      [this](std::shared_ptr<fabric::TlsLink> link) { door_->take(std::move(link)); });
  if (!listener.ok()) {
    Error why = listener.error();
    if (why.kind == ErrorKind::kTaken) why.message += plan.listen_advice;
    return why;
  }
  listener_ = listener.take();
  return {};
}

FirstHost::~FirstHost() {
  // Behind the hub's last words.
  loop_.post([this] { loop_.post([this] { loop_.stop(); }); });
  loop_.join();
}

}  // namespace instep::coord
