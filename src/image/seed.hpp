// What a guest is told at its first start: who it is, and who may come in. A name and keys go as systemd's credentials, at
// hardly any cost; user data needs cloud-init, and so a NoCloud seed, a small ISO 9660 image labelled CIDATA.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/types.hpp"

namespace nagaya::image {

struct SeedConfig {
  std::string hostname{};
  std::string instance_id{};            ///< cloud-init acts anew when it changes
  std::vector<std::string> ssh_keys{};  ///< lines of authorized_keys
  std::string user_data{};              ///< as cloud-init reads it: "#cloud-config …", "#!/bin/sh …"; empty: none
  std::string network{};                ///< cloud-init's network-config, YAML; empty: the image's own
};

/// The image's bytes. Errors say what cloud-init would not take.
[[nodiscard]] Result<std::vector<u8>> make_seed(const SeedConfig& config);

/// Letters, digits and '-', parts of at most 63 with '.' between them (RFC 1123, section 2.1).
[[nodiscard]] Result<> check_hostname(const std::string& name);
/// One line, "TYPE BASE64 [COMMENT]", options before it allowed; nothing that would begin another line.
[[nodiscard]] Result<> check_ssh_key(const std::string& line);

/// fw_cfg items, name and value, by which systemd (252 and later) gets root's keys at the first boot of an image.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> credentials(const std::vector<std::string>& ssh_keys);
/// Word for the kernel's command line that gives the guest its name, or "".
[[nodiscard]] std::string hostname_word(const std::string& hostname);

/// This user's key pair for guests, made at the first use (ssh-keygen).
struct DefaultKey {
  std::string private_path;  ///< for ssh -i
  std::string public_line;   ///< for authorized_keys
};
[[nodiscard]] Result<DefaultKey> default_key();
/// The same in another folder.
[[nodiscard]] Result<DefaultKey> default_key(const std::string& folder);

}  // namespace nagaya::image
