// The folders of a dump: images, and the log beside them or apart.
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/checkpoint/checkpoint.hpp"
#include "container/checkpoint/criu.hpp"
#include "host/fd.hpp"

namespace nagaya::container {

struct Places {
  host::Fd images, work;
  std::string log;
};

/// Opens both folders; with `make` missing ones are made (mode 0700).
Result<Places> open_places(const CriuOptions& options, const char* log_name, bool make);
/// The fields that dumps and restores share; the folders are not among them.
void write_common(const CriuOptions& options, const char* log_name, criu::WireWriter& out);

}  // namespace nagaya::container
