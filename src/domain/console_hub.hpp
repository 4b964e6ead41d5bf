// The console of one container inside its monitor: output goes to the log and to all who are attached, their input to the program.
// Output waits when somebody attached cannot take it, as on any pipe; who lags far behind while others do not is let go.
#pragma once
#include <deque>
#include <functional>
#include <list>
#include <string>

#include "base/result.hpp"
#include "domain/console_protocol.hpp"
#include "domain/container_log.hpp"
#include "host/event_loop.hpp"

namespace nagaya::domain {

class ConsoleHub {
 public:
  struct Hooks {
    std::function<void()> go;
    std::function<void(int)> signal;
    std::function<void()> no_restart;
  };
  ConsoleHub(host::EventLoop& loop, LogWriter log, Hooks hooks) : loop_(loop), log_(std::move(log)), hooks_(std::move(hooks)) {}
  ~ConsoleHub();

  /// Clients come to this socket.
  Result<> listen(const std::string& path);
  /// The program's ends: a terminal's master for all three, or pipes (input may be absent).
  Result<> connect(host::Fd input, host::Fd out, host::Fd err, bool terminal);
  /// Reads what is still there of the program's output, then forgets its ends.
  void drain();
  /// The last word to all clients.
  void finish(ConsoleWord word, const std::string& text);
  [[nodiscard]] bool attached() const { return !clients_.empty(); }

 private:
  static constexpr int first_pause_ms = 20, longest_pause_ms = 320;
  struct Client {
    host::Fd socket;
    bool listens = false;
    std::deque<std::pair<ConsoleWord, std::string>> queue;
    std::size_t queued = 0;
  };
  void accept();
  void readable(Client& client);
  void take(Client& client, const ConsoleMessage& message);
  void pump(Stream stream);
  void deliver(Stream stream, std::string_view data);
  void flush(Client& client);
  void forget(Client& client);
  void watch();
  void look_again_later();
  void write_input();

  host::EventLoop& loop_;
  LogWriter log_;
  Hooks hooks_;
  std::string path_;
  host::Fd listener_, input_, out_, err_, timer_;
  int pause_ms_ = first_pause_ms;
  bool terminal_ = false, held_ = false, input_ended_ = false;
  std::list<Client> clients_;
  std::string to_input_;
  bool input_watched_ = false;
};

}  // namespace nagaya::domain
