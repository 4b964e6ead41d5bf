// Makes the host as a definition says. How a domain is started, and where its image comes from, the caller knows.
#pragma once
#include <functional>
#include <string>

#include "definition/plan.hpp"
#include "image/image.hpp"

namespace nagaya::definition {

/// What applying needs of the program around it.
struct Hands {
  std::function<Result<image::Image>(const std::string& name, bool machine)> image;
  std::function<Result<>(const domain::Domain&)> start, stop;
};

struct ApplyOptions {
  bool dry_run = false;
  bool restart = false;   ///< a domain that must be restarted for a change is
  bool recreate = false;  ///< one that must be made anew is, and loses what it has written
  bool start = false;     ///< domains run afterwards
};

struct Outcome {
  Plan plan;
  bool waits = false;    ///< nothing was changed: what it needs was not allowed
  bool started = false;
};

[[nodiscard]] Result<Outcome> apply(const Json& document, const ApplyOptions& options, const Hands& hands);
/// Whether there was something. `force`: a domain that runs is ended first.
[[nodiscard]] Result<bool> remove(const Json& document, bool force, const Hands& hands);

}  // namespace nagaya::definition
