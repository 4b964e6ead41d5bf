// What the API's requests mean: the server speaks HTTP, a back end acts. `api/local` implements this over the domain library.
// Values are JSON as the document's schemas say; what comes in has been validated against them. Every call may come from
// several threads at once, and may block. Errors carry an errno: ENOENT there is no such thing, EBUSY and EEXIST it conflicts with
// what is, EINVAL and EOPNOTSUPP it cannot be done; without one it is a fault of the host.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "api/problem.hpp"
#include "base/types.hpp"
#include "host/fd.hpp"

namespace nagaya::api {

/// What a long call is given: somewhere to tell how far it is, and to see that nobody wants its end any more.
class Task {
 public:
  virtual ~Task() = default;
  /// 0 to 1; less than 0: not known.
  virtual void progress(double fraction, std::string message) = 0;
  [[nodiscard]] virtual std::stop_token stop() const = 0;
};

enum class Verb : u8 { start, stop, restart, kill, pause, resume, rename };

/// What applying a definition may do to a domain.
struct ApplyFlags {
  bool restart = false, recreate = false, start = false;
};

/// The life cycle.
class Domains {
 public:
  virtual ~Domains() = default;
  /// Domain of each, sorted by name.
  virtual Result<Json> list() = 0;
  /// DomainDetail.
  virtual Result<Json> get(const std::string& name) = 0;
  /// The project alone, quickly.
  virtual Result<std::string> project(const std::string& name) = 0;
  /// A free name for a definition that has none.
  virtual Result<std::string> fresh_name(const Json& definition) = 0;
  /// Definition with its name and project filled in.
  virtual Result<> create(const Json& definition, Task& task) = 0;
  virtual Result<> update(const std::string& name, const Json& update) = 0;
  /// Plan of a Definition with its name and kind.
  virtual Result<Json> plan(const Json& document) = 0;
  /// Makes it so; EBUSY when that needs what was not allowed.
  virtual Result<> apply(const Json& document, const ApplyFlags& flags, Task& task) = 0;
  virtual Result<> remove(const std::string& name, bool force, Task& task) = 0;
  /// `action` is an Action.
  virtual Result<> act(const std::string& name, Verb verb, const Json& action, Task& task) = 0;
  /// Stats; ENOTCONN: it does not run.
  virtual Result<Json> stats(const std::string& name) = 0;
  /// Exit code when it has ended or was never started.
  virtual Result<std::optional<int>> ended(const std::string& name) = 0;
};

/// Bytes from a back end's thread, until the end of file. Closing it tells the thread that nobody reads any more.
struct ByteStream {
  host::Fd bytes;
  std::shared_ptr<void> keep{};  ///< what must live as long; its destructor does not block
};

/// A terminal, or the streams of a program without one.
struct Terminal {
  host::Fd stream;                                ///< connected socket; shut down for writing: the end of input
  host::Fd errors{};                              ///< without a terminal: standard error, to read
  std::function<void(u16, u16)> resize{};         ///< columns, rows; does not block
  std::function<std::optional<int>()> exit_code{};  ///< after the end of `stream`; may block shortly
  std::shared_ptr<void> keep{};
};

struct LogOptions {
  std::optional<u64> tail{};
  bool follow = false, timestamps = false;
};

/// What goes on inside a domain.
class Inside {
 public:
  virtual ~Inside() = default;
  virtual Result<Json> processes(const std::string& name) = 0;
  virtual Result<ByteStream> logs(const std::string& name, const LogOptions& options) = 0;
  virtual Result<Terminal> console(const std::string& name) = 0;
  /// `exec`: Exec, and "terminal".
  virtual Result<Terminal> exec(const std::string& name, const Json& exec) = 0;
  /// ExecResult. ECANCELED when `stop` was asked for.
  virtual Result<Json> run(const std::string& name, const Json& exec, std::stop_token stop) = 0;
  /// A tar stream.
  virtual Result<ByteStream> get_files(const std::string& name, const std::string& path) = 0;
  virtual Result<> put_files(const std::string& name, const std::string& path, int tar) = 0;
};

/// Images, networks, volumes.
class Objects {
 public:
  virtual ~Objects() = default;
  virtual Result<Json> images() = 0;
  virtual Result<> pull(const std::string& reference, Task& task) = 0;
  virtual Result<> remove_image(const std::string& reference) = 0;
  virtual Result<Json> networks() = 0;
  virtual Result<Json> create_network(const Json& network) = 0;
  virtual Result<> remove_network(const std::string& name) = 0;
  virtual Result<Json> volumes() = 0;
  virtual Result<Json> create_volume(const Json& volume) = 0;
  virtual Result<> remove_volume(const std::string& name) = 0;
  /// Makes a network or a volume (as its kind says) as the document says, unless `dry_run`; the Plan that was.
  virtual Result<Json> put(const Json& document, bool dry_run) = 0;
};

/// Something that happened; Event without id and time.
using EventSink = std::function<void(Json)>;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual Domains& domains() = 0;
  virtual Inside& inside() = 0;
  virtual Objects& objects() = 0;
  /// Info, without the caller.
  virtual Result<Json> info() = 0;
  /// From now on until `unwatch`, what happens to domains, whoever did it, goes to `sink` (from any thread).
  virtual void watch(EventSink sink) = 0;
  virtual void unwatch() = 0;
};

}  // namespace nagaya::api
