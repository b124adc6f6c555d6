// Another build of libtorch, as far as a program can tell without computing: for LD_PRELOAD.
#include <string>

namespace at {

std::string show_config() {
  return "PyTorch built with:\n  - Build settings: TORCH_VERSION=1.99.7, \n";
}

}  // namespace at
