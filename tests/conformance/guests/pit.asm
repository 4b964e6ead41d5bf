;@ real
;= r 3
;= r 1
;= r 1
; The 8254: periodic interrupts through the PIC wake HLT; channel 2 counts behind port 61h.
        bits 16
%include "common.inc"
        xor ax, ax
        mov ds, ax
        mov word [0x20 * 4], tick
        mov word [0x20 * 4 + 2], 0
        mov al, 0x11
        out 0x20, al
        mov al, 0x20
        out 0x21, al
        mov al, 4
        out 0x21, al
        mov al, 1
        out 0x21, al
        mov al, 0xfe
        out 0x21, al
        mov al, 0x34                            ; channel 0, both bytes, rate generator
        out 0x43, al
        mov ax, 2386                            ; 2 ms
        out 0x40, al
        mov al, ah
        out 0x40, al
wait3:  sti
        hlt
        cmp byte [ticks], 3
        jb wait3
        cli
        REPORT 3
        mov al, 0xff
        out 0x21, al
        in al, 0x61                             ; gate of channel 2 on, speaker off
        and al, 0xfc
        or al, 1
        out 0x61, al
        mov al, 0xb0                            ; channel 2, both bytes, interrupt on terminal count
        out 0x43, al
        mov cx, 100
again:  mov al, 0
        out 0x42, al
        mov al, 0x10
        out 0x42, al
        in al, 0x61
        and eax, 0x20                           ; output low while it counts
        loopnz again                            ; unless this processor was not let run meanwhile
        shr eax, 5
        xor eax, 1
        REPORT
wait2:  in al, 0x61
        test al, 0x20
        jz wait2
        REPORT 1
        FINISH
tick:   push ax
        inc byte [ticks]
        mov al, 0x20
        out 0x20, al
        pop ax
        iret
ticks:  db 0
