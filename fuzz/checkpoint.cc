// A checkpoint's two kinds of files: its manifest, and tensors as safetensors.
#include "store/checkpoint.h"

#include "input.h"
#include "store/safetensors.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Bytes bytes = fuzz::bytes_of(data, size);
  const auto read = [](std::string_view text) {
    return store::manifest_from_json(text, "manifest.json");
  };
  if (const auto manifest = read(fuzz::text_of(bytes)); manifest.ok()) {
    fuzz::expect_same_again(*manifest, read,
                            [](const store::Manifest& it) { return store::to_json(it); });
  }
  const fuzz::File file(bytes);
  const auto tensors = store::SafetensorsFile::open(file.path());
  if (!tensors.ok()) return 0;
  for (const store::TensorInfo& tensor : tensors->tensors()) {
    fuzz::use(tensors->bytes(tensor));
    INSTEP_CHECK(tensors->find(tensor.name) != nullptr, "a tensor is found by its name");
  }
  return 0;
}

}  // namespace instep
