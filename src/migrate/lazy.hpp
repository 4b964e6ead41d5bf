// The part of a move in which memory follows a container that already runs at the other side: pages go over the same stream, between the dump
// that serves them here and the program that fetches them there. Until the target has said that it has all, the source's container stands
// still and can go on; a target that does not get all ends its own, which cannot live without it.
#pragma once
#include <functional>
#include <string>

#include "base/result.hpp"
#include "container/checkpoint/criu.hpp"
#include "host/fd.hpp"
#include "migrate/stream.hpp"

namespace nagaya::migrate {

struct LazySourceSteps {
  std::function<Result<>()> restored;  ///< the target waits for our word: commit
  std::function<void()> running;
};
/// Serves pages until the target has all. `pages` is our end of CRIU's socket: CRIU takes its end for the container's, so on an error it is
/// told nonsense first, and lets the container go on.
Result<> serve_lazily(Stream& stream, host::Fd pages, const LazySourceSteps& steps);

/// The target's process beside the restore: it owns the stream from the frame `restore` on.
struct Fetcher {
  pid_t pid = 0;
  host::Fd inner;  ///< a stream of frames to and from it, in place of the outer one; closed when the container runs
};
/// `images` are the last round's; the container is one of this state folder. Its exit status is 0 when all memory is there; else it has ended the
/// container first.
Result<Fetcher> fetch_lazily(Stream& outer, const container::criu::Program& program, const std::string& images, const std::string& state_root,
                             const std::string& id);

}  // namespace nagaya::migrate
