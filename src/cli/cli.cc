#include "cli/cli.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/text.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/from_env.h"

namespace instep::cli {
namespace {

// The command line up to "--", and the program after it.
struct Words {
  std::vector<std::string> ours, program;
};

Words split_words(int argc, char** argv) {
  Words out;
  std::vector<std::string>* into = &out.ours;
  for (int i = 1; i < argc; ++i) {
    if (into == &out.ours && std::strcmp(argv[i], "--") == 0) {
      into = &out.program;
    } else {
      into->emplace_back(argv[i]);
    }
  }
  return out;
}

int misused(const std::string& what) { return fail(invalid(cat(what, "; see `instep --help`"))); }

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    out.push_back(command->get_name());
  }
  return out;
}

std::string suggestion(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = nearest(word, known);
  return near.empty() ? "" : cat("; did you mean '", near, "'?");
}

// Words that nothing took: a misspelt flag, or too many arguments.
int unexpected(const CLI::App& app, const std::vector<std::string>& extras) {
  const auto chosen = app.get_subcommands();
  std::vector<std::string> flags;
  if (!chosen.empty()) {
    for (const CLI::Option* option : chosen.front()->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
  }
  const std::string where = chosen.empty() ? "instep" : cat("instep ", chosen.front()->get_name());
  for (const std::string& word : extras) {
    if (!word.starts_with('-')) continue;
    const std::string flag = word.substr(0, word.find('='));
    return misused(cat(where, " has no flag ", flag, suggestion(flag, flags)));
  }
  return misused(cat(where, " does not expect '", extras.empty() ? "" : extras.front(), "'"));
}

int dispatch(const std::string& name, const Options& options) {
  if (name == "run") return run_command(options);
  if (name == "resume") return resume_command(options);
  if (name == "coordinator") return coordinator_command(options);
  if (name == "agent") return agent_command(options);
  if (name == "eval") return evaluate_command(options);
  if (name == "predict") return predict_command(options);
  if (name == "export") return export_command(options);
  if (name == "inspect") return inspect_command(options);
  if (name == "check") return check_command(options);
  if (name == "plot") return plot_command(options);
  if (name == "ls") return list_command();
  if (name == "scale") return scale_command(options);
  if (name == "token") return token_command(options);
  if (name == "audit") return audit_command(options);
  return stop_command(options);
}

}  // namespace

int run(int argc, char** argv, std::int64_t start_ns) {
  Options options;
  options.start_ns = start_ns;
  options.secret = take_secret();
  options.command.assign(argv, argv + argc);
  Words words = split_words(argc, argv);
  options.program = words.program;
  CLI::App app("instep trains one PyTorch model on many agents, with the same bits on any number.",
               "instep");
  define(app, options);
  const std::vector<std::string> names = command_names(app);
  if (!words.ours.empty() && !words.ours.front().starts_with('-') &&
      std::find(names.begin(), names.end(), words.ours.front()) == names.end()) {
    const std::string& word = words.ours.front();
    const std::string near = suggestion(word, names);
    return misused(cat("there is no command '", word, "'",
                       near.empty() ? cat("; there are ", join(names, ", ")) : near));
  }
  if (words.ours.empty() && options.program.empty()) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  try {
    std::reverse(words.ours.begin(), words.ours.end());  // as CLI11 wants them
    app.parse(words.ours);
  } catch (const CLI::ExtrasError&) {
    return unexpected(app, app.remaining(true));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::string what = error.what();
    while (!what.empty() && (what.back() == '\n' || what.back() == '.')) what.pop_back();
    return misused(what);
  }
  const std::string name = app.get_subcommands().front()->get_name();
  if (name != "run" && !options.program.empty()) {
    return misused(cat("instep ", name, " takes no program after --"));
  }
  return dispatch(name, options);
}

}  // namespace instep::cli
