#include "boot/firmware_files.hpp"

#include <string_view>

#include "boot/acpi/tables.hpp"
#include "boot/smbios.hpp"

namespace nagaya::boot {
namespace {

constexpr std::string_view tables_name = "etc/acpi/tables", root_name = "etc/acpi/rsdp";
constexpr std::size_t name_size = 56, command_size = 128;

enum class Command : u32 { allocate = 1, add_pointer = 2, add_checksum = 3 };
enum class Zone : u8 { high = 1, low_segment = 2 };  // anywhere below 4 GiB; E0000h..FFFFFh

class Script {
 public:
  void allocate(std::string_view file, u32 align, Zone zone) {
    begin(Command::allocate);
    text(file);
    append(bytes, align);
    append(bytes, static_cast<u8>(zone));
    end();
  }
  void add_pointer(std::string_view in, u32 offset, u8 width, std::string_view to) {
    begin(Command::add_pointer);
    text(in);
    text(to);
    append(bytes, offset);
    append(bytes, width);
    end();
  }
  void add_checksum(std::string_view in, u32 at, u32 start, u32 size) {
    begin(Command::add_checksum);
    text(in);
    append(bytes, at);
    append(bytes, start);
    append(bytes, size);
    end();
  }

  Bytes bytes;

 private:
  void begin(Command command) { append(bytes, static_cast<u32>(command)); }
  void text(std::string_view name) { append_text(bytes, name, name_size, '\0'); }
  void end() { append_zeros(bytes, align_up(bytes.size(), command_size) - bytes.size()); }
};

}  // namespace

Result<std::vector<FirmwareFile>> build_firmware_files(const Platform& platform) {
  TRY_ASSIGN(acpi::Image acpi, acpi::build(platform));
  Script script;
  script.allocate(root_name, 16, Zone::low_segment);
  script.allocate(tables_name, 64, Zone::high);
  const auto file = [](bool in_root) { return in_root ? root_name : tables_name; };
  for (const acpi::Image::Pointer& p : acpi.pointers)
    script.add_pointer(file(p.in_root), p.offset, p.width, tables_name);
  for (const acpi::Image::Sum& s : acpi.sums) script.add_checksum(file(s.in_root), s.at, s.start, s.size);
  std::vector<FirmwareFile> out;
  out.push_back({std::string(tables_name), std::move(acpi.tables)});
  out.push_back({std::string(root_name), std::move(acpi.root)});
  out.push_back({"etc/table-loader", std::move(script.bytes)});
  out.push_back({"etc/smbios/smbios-tables", smbios_structures(platform)});
  out.push_back({"etc/smbios/smbios-anchor", smbios_anchor(platform)});
  return out;
}

}  // namespace nagaya::boot
