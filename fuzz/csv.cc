// CSV files: the first byte chooses how they are read.
#include "data/readers.h"
#include "table.h"

namespace instep {

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[0];
  const fuzz::File file(fuzz::bytes_of(data + 1, size - 1));
  job::Data spec;
  spec.format = job::DataFormat::kCsv;
  spec.header = (choice & 1) != 0;
  if ((choice & 2) != 0) spec.target_column = "1";
  const job::Loss loss = (choice & 4) != 0 ? job::Loss::kMse : job::Loss::kCrossEntropy;
  fuzz::use(data::load_csv(file.path(), spec, loss));
  if (const auto read = data::read_csv_features(file.path(), spec); read.ok()) {
    fuzz::use(read->table);
  }
  return 0;
}

}  // namespace instep
