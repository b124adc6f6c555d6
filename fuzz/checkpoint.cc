// A checkpoint's two kinds of files: its manifest, and tensors as safetensors.
#include "store/checkpoint.h"

#include "input.h"
#include "store/safetensors.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const fuzz::Bytes bytes = fuzz::bytes_of(data, size);
  if (auto manifest = store::manifest_from_json(fuzz::text_of(bytes), "manifest.json");
      manifest.ok()) {
    const std::string once = store::to_json(*manifest);
    const auto again = store::manifest_from_json(once, "manifest.json");
    INSTEP_CHECK(again.ok() && store::to_json(*again) == once,
                 "a manifest is read as it was written");
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
