// A container moves from one state directory, or host, to another over one stream. While it runs its files and memory are sent, round after
// round; then it stands still, what is left is sent, and the target makes it again but lets it wait; only when the target has it does the source
// let go. Until then any failure makes the source's go on as if nothing had been. docs/design/container-checkpoint.md.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "container/container.hpp"
#include "migrate/stream.hpp"

namespace nagaya::migrate {

/// What moved, and for how long nothing ran.
struct Report {
  u32 rounds = 0;                 ///< dumps, the last included
  std::vector<u64> page_bytes;    ///< memory sent in each, without what the round before had
  u64 bytes = 0;                  ///< of the whole stream
  double standstill_s = 0;        ///< from the last freeze until the target said that it runs
  double total_s = 0;
};

struct SourceOptions {
  std::string state_root, id;
  std::vector<std::string> trees;  ///< the folders with its own files: the root, or an overlay's upper folder, and others; empty: root.path
  std::string work;          ///< a folder for images; made, and removed when all went well
  u32 rounds = 5;            ///< at most, the last included; 1: no pre-copy
  u64 small_bytes = 4 << 20; ///< a round that sends less memory is followed by the last
  bool leave_running = false;  ///< only to a stream that nobody answers
  bool tcp_established = false, ext_unix_sk = false, shell_job = false, file_locks = false;
  bool lazy = false;         ///< post-copy: it runs at the other side at once, and its memory follows. No rounds; not with connections
  /// The other side is about to have it (true): whoever knows it by its address must no longer find it here; or it has not (false).
  std::function<Result<>(bool gone)> leaving;
  std::function<void(const std::string&)> progress;
};
Result<Report> send_container(Stream& stream, const SourceOptions& options);

struct TargetOptions {
  std::string state_root;
  std::string id;      ///< empty: as it was called
  std::string bundle;  ///< a folder: gets config.json, and rootfs unless `tree` says otherwise
  std::vector<std::string> trees;  ///< where its own files go, as many as the source sends; empty: bundle/rootfs
  std::string work;    ///< a folder for images; made, and removed at the end
  std::string console_socket, pid_file;
  int console_connection = -1;     ///< as in CreateOptions
  /// What the configuration must say here (root, mounts, namespaces). Before the files come.
  std::function<Result<>(container::Spec&)> adapt;
  /// When the files are there and before the container is: mounts the root, for one, and may name another configuration.
  std::function<Result<>(container::Spec&)> prepare;
  /// The source has given it up: it may be found here now. It does not run yet.
  std::function<Result<>()> committed;
  /// Set when memory still comes: a child of the caller, whose status is 0 when all is there. Else it has ended the container.
  pid_t* fetcher = nullptr;
};
/// The container runs when this returns, as a child of the caller.
Result<container::State> receive_container(Stream& stream, const TargetOptions& options);

}  // namespace nagaya::migrate
