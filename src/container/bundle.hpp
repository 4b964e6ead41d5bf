// What create and restore begin with: the bundle's configuration, and the first note about the new container.
#pragma once
#include <string>

#include "base/result.hpp"
#include "container/container.hpp"
#include "container/record.hpp"
#include "container/spec/spec.hpp"

namespace nagaya::container {

/// Absolute, links resolved; empty: the working directory.
Result<std::string> bundle_path(const std::string& path);

/// The configuration as text (it is kept beside the state) and as types.
struct Configuration {
  std::string text;
  Spec spec;
};
Result<Configuration> read_configuration(const CreateOptions& options, const std::string& bundle);

/// The record of a container that is about to be made.
Record new_record(const CreateOptions& options, const std::string& bundle, const Spec& spec);

}  // namespace nagaya::container
