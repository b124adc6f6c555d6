#include "model/network.h"

#include "base/text.h"
#include "model/mlp.h"

namespace instep::model {

Result<Network> make_network(const job::Model& model) {
  if (model.kind == "mlp") return make_mlp(model);
  return invalid(cat("there is no model ", model.kind));
}

}  // namespace instep::model
