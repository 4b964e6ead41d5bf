// The first frame of each side.
#pragma once
#include "base/result.hpp"
#include "container/checkpoint/criu.hpp"
#include "migrate/stream.hpp"

namespace nagaya::migrate {

/// Says and hears hello. Both sides must speak one version of the stream, and the reader's CRIU must not be older than the writer's.
Result<> greet(Stream& stream, const container::criu::Program& own, bool reads_images);

}  // namespace nagaya::migrate
