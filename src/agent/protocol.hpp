// What the host and the agent inside a guest say to each other, over one stream connection for each operation: frames of
// a kind and a payload. docs/design/agent.md tells it in words. Neither side trusts the other: every length is bounded,
// and what makes no sense ends the connection.
#pragma once
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::agent {

inline constexpr u32 magic = 0x4147'414e, version = 1;  // "NAGA"
inline constexpr u32 vsock_port = 1024;
inline constexpr std::size_t frame_header = 8;          // length of the payload (4), kind (1), zeros (3)
inline constexpr std::size_t most_payload = 256 * KiB;
inline constexpr std::size_t data_chunk = 32 * KiB;     // bytes of a stream in one frame
/// What each side may send of a stream of an exec before the other side has taken it.
inline constexpr u32 stream_window = 256 * KiB;

enum class Kind : u8 {
  request = 1,  ///< the first frame; magic, version, operation and what it needs
  accepted,     ///< the operation begins; its answer
  failed,       ///< errno and a sentence; the last frame
  input,        ///< exec: bytes for standard input
  input_end,    ///< exec: its end
  output,       ///< exec: bytes of standard output (of a terminal: of both)
  errors,       ///< exec: bytes of standard error
  window,       ///< exec: so many bytes of that stream were taken
  signal,       ///< exec: a signal for the process and its group
  resize,       ///< exec: the terminal's size
  exited,       ///< exec: how it ended; the last frame
  entry,        ///< files: what comes next
  content,      ///< files: bytes of the entry
  warning,      ///< files: what was left out, and why
  finished,     ///< files: the last frame
};

enum class Operation : u8 { ping = 1, exec, get_files, put_files, set_time, power, addresses };
enum class Stream : u8 { input = 0, output = 1, errors = 2 };
enum class Power : u8 { off = 0, reboot = 1 };

struct Frame {
  Kind kind{};
  std::vector<u8> payload{};
};

/// Collects bytes and gives frames.
class FrameReader {
 public:
  void feed(std::span<const u8> bytes);
  /// The next whole frame, if there is one. After an error the stream is of no use.
  Result<std::optional<Frame>> next();
  [[nodiscard]] bool empty() const { return at_ == bytes_.size(); }

 private:
  std::vector<u8> bytes_;
  std::size_t at_ = 0;
};

/// Appends a frame's bytes.
void put_frame(std::vector<u8>& out, Kind kind, std::span<const u8> payload);

// ---- Payloads. Decoders refuse what is cut off, left over or out of range. ----

struct ExecRequest {
  std::vector<std::string> command;  ///< 1 to 4096 words
  std::vector<std::string> environment{};  ///< "KEY=VALUE", on top of what the user's session has
  std::string folder{};              ///< empty: the user's home
  std::string user{};                ///< name or number, "user:group"; empty: the agent's own (root)
  bool terminal = false, input = false;
  u16 columns = 80, rows = 24;
};

/// Where files go to: into `path` when that is a folder, else they become `path`.
struct PutRequest {
  std::string path;
  std::string name;   ///< of the first entry; empty: entries lie in `path` itself, which must be a folder
};

struct Request {
  Operation operation{};
  ExecRequest exec{};
  std::string path{};  ///< of get_files
  PutRequest put{};
  u64 time_ns = 0;     ///< of set_time, since 1970
  Power power{};
};
[[nodiscard]] std::vector<u8> encode(const Request& request);
[[nodiscard]] Result<Request> decode_request(std::span<const u8> payload);

struct Failure {
  int code = 0;  ///< errno of the guest, or 0
  std::string text{};
};
[[nodiscard]] std::vector<u8> encode(const Failure& failure);
[[nodiscard]] Result<Failure> decode_failure(std::span<const u8> payload);

struct Window {
  Stream stream{};
  u32 bytes = 0;
};
[[nodiscard]] std::vector<u8> encode(const Window& window);
[[nodiscard]] Result<Window> decode_window(std::span<const u8> payload);

struct Resize {
  u16 columns = 0, rows = 0;
};
[[nodiscard]] std::vector<u8> encode(const Resize& size);
[[nodiscard]] Result<Resize> decode_resize(std::span<const u8> payload);

struct Exited {
  bool signalled = false;
  u32 value = 0;
};
[[nodiscard]] std::vector<u8> encode(const Exited& exited);
[[nodiscard]] Result<Exited> decode_exited(std::span<const u8> payload);

/// One file, folder or symbolic link; the bytes of a file follow as `content`. The path is relative, "" is the root itself.
struct Entry {
  enum class Type : u8 { file, folder, link };
  Type type = Type::file;
  u32 mode = 0;  ///< permission bits
  u32 user = 0, group = 0;
  i64 seconds = 0;  ///< of the last change
  u32 nanoseconds = 0;
  u64 size = 0;          ///< of a file
  std::string path{};    ///< at most 4095 bytes, no "..", no absolute ones
  std::string target{};  ///< of a link
};
[[nodiscard]] std::vector<u8> encode(const Entry& entry);
[[nodiscard]] Result<Entry> decode_entry(std::span<const u8> payload);
/// "", "a", "a/b": no empty parts, none that is "." or "..", no zero bytes.
[[nodiscard]] bool safe_path(std::string_view path);

/// Lists of strings, such as the answers to ping and addresses.
[[nodiscard]] std::vector<u8> encode(const std::vector<std::string>& texts);
[[nodiscard]] Result<std::vector<std::string>> decode_texts(std::span<const u8> payload);
[[nodiscard]] std::vector<u8> encode_text(std::string_view text);
[[nodiscard]] Result<std::string> decode_text(std::span<const u8> payload);

}  // namespace nagaya::agent
