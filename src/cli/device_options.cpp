#include "cli/device_options.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <type_traits>

#include "cli/sizes.hpp"

namespace nagaya::cli {

namespace {

using proto::CharConfig;

// "stdio", "stdout", "null", "pty", "file:PATH", "unix:PATH".
Result<CharConfig> parse_char_device(const std::string& text, std::string_view option) {
  using Type = CharConfig::Type;
  if (text == "stdio") return CharConfig{Type::stdio};
  if (text == "stdout") return CharConfig{Type::stdout_only};
  if (text == "null" || text == "none") return CharConfig{Type::none};
  if (text == "pty") return CharConfig{Type::pty};
  for (auto [prefix, type] : {std::pair{"file:", Type::file}, std::pair{"unix:", Type::socket}}) {
    if (!text.starts_with(prefix)) continue;
    std::string path = text.substr(std::string_view(prefix).size());
    if (path.empty()) return fail(fmt::format("{} {}", option, text), "a path must follow the colon");
    return CharConfig{type, path};
  }
  return fail(fmt::format("'{}' is no value for {}", text, option), {}, "use stdio, stdout, null, pty, file:PATH or unix:PATH");
}

// "name=opt/x,string=v" or "name=opt/x,file=path"; the content may hold commas, so that it comes last.
Result<proto::FwCfgItem> parse_fw_cfg(const std::string& text) {
  auto bad = [&](const char* why) { return fail(fmt::format("--fw-cfg {}", text), why, "write name=opt/x,string=v or name=opt/x,file=path"); };
  if (!text.starts_with("name=")) return bad("it does not begin with name=");
  std::size_t comma = text.find(',');
  if (comma == std::string::npos) return bad("string= or file= is missing");
  proto::FwCfgItem item{.name = text.substr(5, comma - 5)};
  std::string rest = text.substr(comma + 1);
  if (rest.starts_with("string=")) {
    item.text = rest.substr(7);
  } else if (rest.starts_with("file=")) {
    item.file = rest.substr(5);
  } else {
    return bad("string= or file= is missing");
  }
  return item;
}

struct Item {
  std::string text, key, value;
};

// "key=value,key=value,key". A comma in a value is written twice.
std::vector<Item> split_items(std::string_view text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != ',') {
      parts.back() += text[i];
    } else if (i + 1 < text.size() && text[i + 1] == ',') {
      parts.back() += text[i++];
    } else {
      parts.emplace_back();
    }
  }
  std::vector<Item> out;
  for (std::string& part : parts) {
    const std::size_t equals = part.find('=');
    std::string key = part.substr(0, equals), value = equals == std::string::npos ? "" : part.substr(equals + 1);
    out.push_back({std::move(part), std::move(key), std::move(value)});
  }
  return out;
}

Result<u64> parse_number(const std::string& text) {
  u64 value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return fail(fmt::format("'{}'", text), "it must be a whole number");
  return value;
}

// "path=disk.qcow2,format=qcow2,readonly=on,serial=x,backing=DIR,iops=500,bps=10M".
Result<proto::DiskConfig> parse_disk(const std::string& text) {
  const auto bad = [&](std::string why) {
    return fail(fmt::format("--disk {}", text), std::move(why),
                "write path=FILE,format=raw|qcow2,readonly=on|off,serial=TEXT,backing=PLACE,iops=N,iops-burst=N,bps=SIZE,bps-burst=SIZE,"
                "io=auto|threads|io_uring,ring=packed|split");
  };
  proto::DiskConfig disk;
  bool stated = false;
  for (const Item& item : split_items(text)) {
    const auto limit = [&](u64& out, auto parse) -> Result<> {
      auto value = parse(item.value);
      if (!value) return std::unexpected(std::move(value).error().within(fmt::format("--disk, {}", item.key)));
      out = *value;
      return {};
    };
    if (item.key == "path") {
      disk.path = item.value;
    } else if (item.key == "format") {
      disk.format = item.value;
      stated = true;
    } else if (item.key == "readonly" && (item.value == "on" || item.value == "off")) {
      disk.read_only = item.value == "on";
    } else if (item.key == "serial") {
      disk.serial = item.value;
    } else if (item.key == "io") {
      disk.io = item.value;
    } else if (item.key == "ring") {
      disk.ring = item.value;
    } else if (item.key == "backing" && !item.value.empty()) {
      disk.backing.push_back(item.value);
    } else if (item.key == "iops") {
      TRY(limit(disk.limits.iops, parse_number));
    } else if (item.key == "iops-burst") {
      TRY(limit(disk.limits.iops_burst, parse_number));
    } else if (item.key == "bps") {
      TRY(limit(disk.limits.bps, parse_size));
    } else if (item.key == "bps-burst") {
      TRY(limit(disk.limits.bps_burst, parse_size));
    } else {
      return bad(fmt::format("'{}' is not understood", item.text));
    }
  }
  if (disk.path.empty()) return bad("path= is missing");
  if (!stated) return bad("format= is missing; it is never guessed, because a guest may have written what looks like another");
  return disk;
}

bool is_switch(const Item& item, const char* key) { return item.key == key && (item.value == "on" || item.value == "off"); }

// "tag=home,path=DIR,readonly=on".
Result<proto::ShareConfig> parse_share(const std::string& text) {
  const auto bad = [&](std::string why) { return fail(fmt::format("--share {}", text), std::move(why), "write tag=TAG,path=DIR[,readonly=on]"); };
  proto::ShareConfig share;
  for (const Item& item : split_items(text)) {
    if (item.key == "tag") {
      share.tag = item.value;
    } else if (item.key == "path") {
      share.path = item.value;
    } else if (is_switch(item, "readonly")) {
      share.read_only = item.value == "on";
    } else {
      return bad(fmt::format("'{}' is not understood", item.text));
    }
  }
  if (share.tag.empty()) return bad("tag= is missing; it is what the guest calls the share");
  if (share.path.empty()) return bad("path= is missing");
  return share;
}

// "path=FILE,readonly=on".
Result<proto::PmemConfig> parse_pmem(const std::string& text) {
  const auto bad = [&](std::string why) { return fail(fmt::format("--pmem {}", text), std::move(why), "write path=FILE[,readonly=on]"); };
  proto::PmemConfig pmem;
  for (const Item& item : split_items(text)) {
    if (item.key == "path") {
      pmem.path = item.value;
    } else if (is_switch(item, "readonly")) {
      pmem.read_only = item.value == "on";
    } else {
      return bad(fmt::format("'{}' is not understood", item.text));
    }
  }
  if (pmem.path.empty()) return bad("path= is missing");
  return pmem;
}

// "socket=PATH" or "tap=NAME", then "mac=…,mtu=N,queues=N,rate-in=SIZE,rate-out=SIZE".
Result<proto::NetConfig> parse_net(const std::string& text) {
  proto::NetConfig net;
  for (const Item& item : split_items(text)) {
    const auto number = [&](auto& out, auto parse) -> Result<> {
      auto value = parse(item.value);
      if (!value) return std::unexpected(std::move(value).error().within(fmt::format("--net, {}", item.key)));
      out = static_cast<std::remove_reference_t<decltype(out)>>(std::min<u64>(*value, ~std::remove_reference_t<decltype(out)>{0}));
      return {};
    };
    if (item.key == "socket") {
      net.socket = item.value;
    } else if (item.key == "tap") {
      net.tap = item.value;
    } else if (item.key == "mac") {
      net.mac = item.value;
    } else if (item.key == "mtu") {
      TRY(number(net.mtu, parse_number));
    } else if (item.key == "queues") {
      TRY(number(net.queues, parse_number));
    } else if (item.key == "rate-in") {
      TRY(number(net.rate_in, parse_size));
    } else if (item.key == "rate-out") {
      TRY(number(net.rate_out, parse_size));
    } else {
      return fail(fmt::format("--net {}", text), fmt::format("'{}' is not understood", item.text),
                  "write socket=PATH or tap=NAME, then mac=ADDRESS,mtu=N,queues=N,rate-in=SIZE,rate-out=SIZE");
    }
  }
  return net;
}

// "cid=3,path=SOCKET".
Result<proto::VsockConfig> parse_vsock(const std::string& text) {
  proto::VsockConfig out;
  for (const Item& item : split_items(text)) {
    if (item.key == "path") {
      out.path = item.value;
    } else if (item.key == "cid") {
      auto cid = parse_number(item.value);
      if (!cid) return std::unexpected(std::move(cid).error().within("--vsock, cid"));
      out.cid = *cid;
    } else {
      return fail(fmt::format("--vsock {}", text), fmt::format("'{}' is not understood", item.text), "write path=SOCKET,cid=N");
    }
  }
  return out;
}

// "stdio,name=x,terminal=on". A port with a name is a plain one unless it is said to be a terminal.
Result<proto::ConsoleConfig> parse_console(const std::string& text) {
  const std::vector<Item> items = split_items(text);
  proto::ConsoleConfig out;
  TRY_ASSIGN(out.where, parse_char_device(items[0].text, "--console"));
  std::optional<bool> terminal;
  for (std::size_t i = 1; i < items.size(); ++i) {
    if (items[i].key == "name") {
      out.name = items[i].value;
    } else if (items[i].key == "terminal" && (items[i].value == "on" || items[i].value == "off")) {
      terminal = items[i].value == "on";
    } else {
      return fail(fmt::format("--console {}", text), fmt::format("'{}' is not understood", items[i].text),
                  "write WHERE,name=NAME,terminal=on|off");
    }
  }
  out.terminal = terminal.value_or(out.name.empty());
  return out;
}

// "deflate-on-oom=on,free-page-reporting=on", or nothing.
Result<proto::BalloonConfig> parse_balloon(const std::string& text) {
  proto::BalloonConfig out;
  for (const Item& item : split_items(text)) {
    if (item.text == "on") continue;
    const bool known = item.value == "on" || item.value == "off";
    if (item.key == "deflate-on-oom" && known) {
      out.deflate_on_oom = item.value == "on";
    } else if (item.key == "free-page-reporting" && known) {
      out.free_page_reporting = item.value == "on";
    } else {
      return fail(fmt::format("--balloon {}", text), fmt::format("'{}' is not understood", item.text),
                  "write on, or deflate-on-oom=on|off,free-page-reporting=on|off");
    }
  }
  return out;
}

}  // namespace

std::vector<OptionSpec> device_options() {
  const std::string char_devices = "stdio, stdout, null, pty, file:PATH or unix:PATH";
  return {
      {"--serial", "WHERE", "serial port, the first by default stdio: " + char_devices, Completes::words,
       {"stdio", "stdout", "null", "pty", "file:", "unix:"}, false, true},
      {"--debug-console", "WHERE", "debug console at port E9h: " + char_devices, Completes::words,
       {"stdio", "stdout", "null", "pty", "file:", "unix:"}, false},
      {"--debug-exit", "", "port F4h ends the machine: value v gives exit code (v << 1) | 1"},
      {"--testdev", "", "test device for CPU test suites (interface of QEMU's pc-testdev)"},
      {"--disk", "DISK", 
       "virtio disk: path=FILE,format=raw|qcow2[,readonly=on][,serial=TEXT] [,backing=PLACE]"
       " [,iops=N][,iops-burst=N] [,bps=SIZE][,bps-burst=SIZE]"
       " [,io=auto|threads|io_uring] [,ring=packed|split]", Completes::nothing, {}, false, true},
      {"--net", "CARD",
       "virtio network card on a link of your own: socket=PATH|tap=NAME [,mac=ADDRESS] [,mtu=N] [,queues=N] [,rate-in=SIZE] [,rate-out=SIZE]",
       Completes::nothing, {}, false, true},
      {"--console", "PORT", "port of a virtio console: WHERE[,name=NAME][,terminal=on|off]; hvc0, hvc1 … or, with a name, a plain port",
       Completes::words, {"stdio", "stdout", "null", "pty", "file:", "unix:"}, false, true},
      {"--vsock", "SOCKET", "sockets between guest and host: path=SOCKET[,cid=N]; the host connects there and writes CONNECT PORT"},
      {"--balloon", "HOW", "memory balloon: on, or deflate-on-oom=on|off,free-page-reporting=on|off", Completes::words, {"on"}, false},
      {"--rng", "", "virtio entropy device, fed by the host"},
      {"--share", "SHARE", "folder of this host, in the guest: mount -t virtiofs TAG PLACE; tag=TAG,path=DIR[,readonly=on]",
       Completes::nothing, {}, false, true},
      {"--pmem", "PMEM", "file as persistent memory (/dev/pmem0): path=FILE[,readonly=on]", Completes::nothing, {}, false, true},
      {"--fw-cfg", "ITEM", "firmware configuration item: name=opt/x,string=v or name=opt/x,file=path", Completes::nothing, {}, true, true},
  };
}

Result<> devices_from_options(const Parsed& options, proto::DeviceConfig& devices) {
  for (const std::string& where : options.all("serial")) {
    TRY_ASSIGN(CharConfig port, parse_char_device(where, "--serial"));
    devices.serial.push_back(std::move(port));
  }
  for (const std::string& text : options.all("console")) {
    TRY_ASSIGN(proto::ConsoleConfig port, parse_console(text));
    devices.consoles.push_back(std::move(port));
  }
  // The terminal is the console's when one asks for it.
  const bool taken = std::ranges::any_of(devices.consoles, [](const auto& port) { return port.where.type == CharConfig::Type::stdio; });
  if (!options.has("serial") && taken) devices.serial.push_back({CharConfig::Type::none});
  if (options.has("vsock")) {
    TRY_ASSIGN(devices.vsock, parse_vsock(options.last("vsock")));
  }
  if (options.has("balloon")) {
    TRY_ASSIGN(devices.balloon, parse_balloon(options.last("balloon")));
  }
  if (!options.has("serial") && !taken) devices.serial.push_back({CharConfig::Type::stdio});
  if (options.has("debug-console")) {
    TRY_ASSIGN(devices.debug_console, parse_char_device(options.last("debug-console"), "--debug-console"));
  }
  devices.debug_exit = options.has("debug-exit");
  devices.testdev = options.has("testdev");
  for (const std::string& text : options.all("disk")) {
    TRY_ASSIGN(proto::DiskConfig disk, parse_disk(text));
    devices.disks.push_back(std::move(disk));
  }
  for (const std::string& text : options.all("net")) {
    TRY_ASSIGN(proto::NetConfig net, parse_net(text));
    devices.nets.push_back(std::move(net));
  }
  devices.rng = options.has("rng");
  for (const std::string& text : options.all("share")) {
    TRY_ASSIGN(proto::ShareConfig share, parse_share(text));
    devices.shares.push_back(std::move(share));
  }
  for (const std::string& text : options.all("pmem")) {
    TRY_ASSIGN(proto::PmemConfig pmem, parse_pmem(text));
    devices.pmems.push_back(std::move(pmem));
  }
  for (const std::string& text : options.all("fw-cfg")) {
    TRY_ASSIGN(proto::FwCfgItem item, parse_fw_cfg(text));
    devices.fw_cfg.push_back(std::move(item));
  }
  return {};
}

}  // namespace nagaya::cli
