;@ real vcpus=4
;= r 1
;= r 4
;= r 9c40
;= r 3
; INIT and SIPI start three more processors at 8000h; each counts with a locked add, then halts; an IPI to all wakes them.
        bits 16
%include "common.inc"
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov ax, 1
        lock xadd [arrived], ax
        test ax, ax
        jnz other
        ; unreal mode, to reach the local APIC
        cli
        lgdt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 8
        mov fs, bx
        and al, 0xfe
        mov cr0, eax
        jmp 0:.back
.back:  REPORT 1
        mov edi, LAPIC
        mov dword [fs:edi + 0xf0], 0x1ff
        mov dword [fs:edi + 0x310], 0
        mov dword [fs:edi + 0x300], 0xc4500     ; INIT to all others
        mov ecx, 1000
.delay: dec ecx
        jnz .delay
        mov dword [fs:edi + 0x300], 0xc4608     ; start-up at 8000h
.all:   pause
        cmp word [arrived], 4
        jb .all
        movzx eax, word [arrived]
        REPORT
        call count
.done:  pause
        cmp word [counted], 4
        jb .done
        mov eax, [total]
        REPORT
.halted: pause
        cmp word [ready], 3
        jb .halted
        mov dword [fs:edi + 0x300], 0xc4055     ; fixed, vector 55h, to all others
.woken: pause
        cmp word [woken], 3
        jb .woken
        movzx eax, word [woken]
        REPORT
        FINISH
count:  mov ecx, 10000
.again: lock inc dword [total]
        dec ecx
        jnz .again
        lock inc word [counted]
        ret
other:  shl ax, 8                               ; a stack each
        add ax, 0x7000
        mov sp, ax
        call count
        mov word [0x55 * 4], on55
        mov word [0x55 * 4 + 2], 0
        lgdt [table]
        mov eax, cr0
        or al, 1
        mov cr0, eax
        mov bx, 8
        mov fs, bx
        and al, 0xfe
        mov cr0, eax
        jmp 0:.back
.back:  mov edi, LAPIC
        mov dword [fs:edi + 0xf0], 0x1ff
        lock inc word [ready]
.sleep: sti
        hlt
        jmp .sleep
on55:   lock inc word [woken]
        mov dword [fs:edi + 0xb0], 0
        iret
        align 4
total:  dd 0
arrived: dw 0
counted: dw 0
ready:  dw 0
woken:  dw 0
        align 8
gdt:    dq 0
        dq 0x00cf93000000ffff
table:  dw 15
        dd gdt
