// The commands and their options, as CLI11 reads and explains them.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace instep::cli {

// What is read goes to `options`, which must outlive the app.
void define(CLI::App& app, Options& options);

}  // namespace instep::cli
