// The host's ends of character devices, by name. All run on an event loop; none ever blocks a guest's processor.
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "devices/char_sink.hpp"
#include "host/event_loop.hpp"
#include "host/fd.hpp"

namespace nagaya::devices {

/// Drops output, has no input.
std::unique_ptr<CharBackend> null_backend();
/// Input from one descriptor and output to another (either may be absent, both may be one socket given twice by dup).
/// A slow reader holds the guest's transmitter back. Modes of shared open files (a terminal of several processes) are
/// left alone: where possible the file is opened anew without blocking.
Result<std::unique_ptr<CharBackend>> fd_backend(host::EventLoop& loop, host::Fd in, host::Fd out);
/// Standard input and output of this process.
Result<std::unique_ptr<CharBackend>> stdio_backend(host::EventLoop& loop);
/// Output to a file, which is made anew.
Result<std::unique_ptr<CharBackend>> file_backend(host::EventLoop& loop, const std::string& path);
/// Named pipes: output to PATH.out and input from PATH.in when these exist, else output to PATH.
Result<std::unique_ptr<CharBackend>> pipe_backend(host::EventLoop& loop, const std::string& path);
/// A new pseudo-terminal, whose name is CharBackend::where(). Output that nobody reads is dropped when the buffer is full.
Result<std::unique_ptr<CharBackend>> pty_backend(host::EventLoop& loop);
/// Listens at a Unix socket; one client at a time, output without a client is dropped. Removes the socket at its end.
Result<std::unique_ptr<CharBackend>> socket_backend(host::EventLoop& loop, const std::string& path);

/// By description: "stdio", "null", "pty", "file:PATH", "pipe:PATH", "unix:PATH".
Result<std::unique_ptr<CharBackend>> open_char_backend(host::EventLoop& loop, std::string_view description);

}  // namespace nagaya::devices
