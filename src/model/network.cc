#include "model/network.h"

#include "base/text.h"
#include "model/gpt.h"
#include "model/lstm.h"
#include "model/mlp.h"
#include "model/resnet20.h"
#include "model/torchscript.h"

namespace instep::model {

Result<Network> make_network(const job::Model& model, const std::filesystem::path& file) {
  if (model.kind == "mlp") return make_mlp(model);
  if (model.kind == "resnet20") return make_resnet20(model);
  if (model.kind == "gpt") return make_gpt(model);
  if (model.kind == "lstm") return make_lstm(model);
  if (model.kind == "torchscript") return load_torchscript(model, file);
  return invalid(cat("there is no model ", model.kind));
}

}  // namespace instep::model
