// What a network is, and the folder of definitions: one readable JSON file each, <state_dir>/networks/NAME.json.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "net/ip.hpp"

namespace nagaya::net {

enum class Driver : u8 {
  user,      ///< a way out through a process's own sockets: no root
  isolated,  ///< machines see each other and nothing else
  bridge,    ///< a bridge of this host's kernel with its own address translation: root
  none,      ///< no card at all
};
[[nodiscard]] std::string_view driver_name(Driver driver);
[[nodiscard]] Result<Driver> parse_driver(std::string_view text);

struct Network {
  std::string name;
  Driver driver = Driver::user;
  Net4 subnet{{0x0a000200}, 24};  ///< of user and bridge
  unsigned mtu = 0;               ///< 0: what suits the driver
  bool internal = false;          ///< user and bridge: no way out
  bool host_loopback = true;      ///< user: the gateway stands for the host's loopback
  bool ip6 = true;                ///< user
  bool operator==(const Network&) const = default;

  /// Whether each machine has one of its own, so that nobody else is on it: the built-in "user" is.
  [[nodiscard]] bool own() const { return std::string_view(name) == "user"; }
  [[nodiscard]] bool built_in() const { return own() || std::string_view(name) == "none"; }
  [[nodiscard]] unsigned effective_mtu() const { return mtu != 0 ? mtu : driver == Driver::user ? 32000 : 1500; }
  [[nodiscard]] Ip4 gateway() const { return subnet.at(driver == Driver::user ? 2 : 1); }
  [[nodiscard]] Result<> validate() const;
  [[nodiscard]] std::string to_json() const;
  static Result<Network> from_json(std::string_view text);
};

class NetworkStore {
 public:
  /// Folders of this user (host/dirs.hpp), or others for tests.
  NetworkStore();
  NetworkStore(std::string state, std::string runtime) : state_(std::move(state)), runtime_(std::move(runtime)) {}

  /// The built-in ones and those of the folder, by name. A file that cannot be read is left out and told in `unreadable`.
  [[nodiscard]] Result<std::vector<Network>> list(std::vector<std::string>* unreadable = nullptr) const;
  [[nodiscard]] Result<Network> find(const std::string& name) const;
  /// Writes a new definition; an existing one of that name is an error.
  [[nodiscard]] Result<> create(const Network& network) const;
  [[nodiscard]] Result<> remove(const std::string& name) const;
  /// A /24 of 10.89.0.0/16 that no bridge network has and no address of this host lies in.
  [[nodiscard]] Result<Net4> free_subnet() const;

  /// Where what runs of it lives: <runtime>/net/NAME, made when it is not there.
  [[nodiscard]] Result<std::string> runtime_folder(const std::string& name) const;

 private:
  [[nodiscard]] std::string path_of(const std::string& name) const { return state_ + "/" + name + ".json"; }
  std::string state_, runtime_;
};

}  // namespace nagaya::net
