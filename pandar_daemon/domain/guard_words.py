"""Words by which a guard tells a sentence from a command."""

from __future__ import annotations

from typing import Final

from pandar_daemon.domain.gate_tables import names

SMALL: Final = names(
    # English
    "the a an of to for and in is are was were be been being that this these those it its with from"
    " when if so we you i my our your their his please should must not don't doesn't didn't isn't"
    " can can't cannot could would won't shouldn't into onto than then there where who why how what"
    " all any every each after before without but or as by on at via about because instead only"
    " also still no does do did has have had will let's us me they them new which while until"
    " between through whether some more most other same such here just too very now it's that's"
    " fails fail failed failing broken slow slower faster wrong missing crashes crash hangs works"
    " work working doesn needs need behaves"
    " there's you're we're they're i'm i'd i've who's what's using per both either nor again yet"
    # others that need no accents
    " el la los las del de en y que un una por para con les des du et dans est une avec sur pour"
    " der die das und den dem ein eine im ist mit von auf zu nicht il lo gli di che per non o os"
    " um uma com em no na het een van voor met niet och att det som inte"
)
"""Words that hold sentences together, and are seldom arguments."""

WEAK: Final = names("all any no on as at by new from to in for only del me do die per no")
"""Those of them that programs take as arguments, too: one of them in a short text is not enough."""

STRONG: Final = names(
    "the a an that this these those is are was were be should must our your my please and of"
    " not it its it's with when why how what because instead which who without before after if"
    " so but doesn't don't isn't can't cannot won't shouldn't can could would will has have had"
    " does we you they there into than or in least to for from as by until while "
    " every each"
)
"""Those that tell a sentence even behind the name of a program."""

VERBS: Final = names(
    "sync deploy lint perform ship conduct ok"
    " okay hi hello hey thanks yes no next proceed retry again"
    " add adjust adopt allow analyse analyze annotate apply archive arrange ask assess assign"
    " audit automate avoid backport benchmark brainstorm bring bump calculate capture centralize"
    " change clarify clean cleanup close collect combine comment compare complete compose"
    " compute configure connect consider consolidate continue convert correct cover create debug"
    " decide declare decouple dedupe deduplicate define delete deliver deprecate derive describe"
    " design detect determine develop diagnose disable discuss display document double-check"
    " draft drop drill eliminate enable encapsulate enforce enhance ensure enumerate estimate"
    " evaluate examine exclude explain explore expose extend extract figure finalize finish fix"
    " flag flatten follow fuzz generate get give go group guard handle harden hide highlight"
    " hook identify ignore implement import improve include increase inline inspect integrate"
    " introduce investigate isolate keep learn let limit list localize log look lower maintain"
    " make measure merge migrate minimize mock model modernize modify monitor move name"
    " normalize note notify optimise optimize organize outline overhaul parallelize parse pin"
    " plan please polish prepare prevent print profile propose protect prototype provide put"
    " raise reconcile record redesign reduce redo reformat refactor refine regenerate"
    " reimplement remove rename render reorder reorganize replace reply report reproduce"
    " research reset resolve restore restructure restrict retry return reuse revamp revert"
    " review revise rewrite rework round run scan search secure see separate serialize set setup"
    " shorten show simplify sketch skip solve specify speed split stabilize standardize start"
    " state stop streamline study style suggest summarise summarize support swap switch sync"
    " synchronize tag take tell test throttle tidy tighten trace track translate triage trim"
    " troubleshoot try tune turn type understand undo unify update upgrade use validate verify"
    " visualize warn wire wrap write"
)
"""With which people begin what they ask for; not all of them are programs."""

MENTIONS: Final = names(
    "explain document describe why what how never not don't doesn't dont no avoid remove"
    " replace without warn warning forbid forbidden forbids block blocked blocks reject rejected"
    " rejects detect detects refuse refused refuses mention mentions about danger dangerous"
    " instead guard catch catches caught prevent prevents stop stopping summarize find search"
    " grep list count where whether rename contains containing called named says"
)
"""Words that make a command in a sentence something that is talked about."""

AGENTS: Final = names(
    "codex claude gemini aider opencode goose qwen crush amp cursor-agent copilot pandar auggie"
    " droid kimi cline"
)
"""Programs that take what they shall do in words."""

OTHERS: Final = names(
    "watch parallel script sem strace ltrace gdb lldb flock unbuffer chronic entr hyperfine"
    " perf valgrind nodemon watchexec concurrently chroot nsenter unshare systemd-run firejail"
    " proot fakeroot setpriv capsh runcon setarch prlimit chrt numactl start-stop-daemon expect"
    " tmux screen dtach vim vi view ex ed emacs nano pico psql mysql mysqldump mongo mongosh"
    " redis-cli sqlite3 pkill killall xkill dropdb createdb msfconsole nohup disown logrotate"
    " telinit kexec gosu su-exec rfkill bwrap wall mail sendmail mutt rlwrap socat-mux mkswap"
    " dmsetup lvremove vgremove zpool zfs btrfs xfs_repair tune2fs debugfs fsck losetup setfacl"
    " chattr setcap getcap auditctl setenforce journalctl dmesg rpm-ostree crond anacron"
    " incrontab nsupdate tcpdump iwconfig ip ifconfig route wg openvpn xdg-open open pbcopy"
    " xclip direnv dotenv jshell dc m4 gpgconf cmd del diskutil format powershell csh tcsh"
)
"""Programs that stand in no table, and that a sentence seldom begins with."""

NOUNS: Final = names(
    "alias enable service security pass render host batch security port links ping dig http salt"
    " puppet copilot railway age op snap script screen parallel watch wall open view ip route"
)
"""Names of programs that people begin sentences with."""

ORDERS: Final = names("start stop restart reload status enable disable show list add del get set")
"""Words behind such a name with which it is a command after all."""

HEADS: Final = names(
    "bug bugs issue issues error errors feature features test tests docs documentation code review"
    " audit support cleanup refactoring detection handling performance problem problems page pages"
    " module modules suite suites generator query queries names name changes work tool tools page"
    " request requests summary analysis coverage upgrade migration regression leak crash failure"
    " warning warnings typo typos improvement improvements optimization report fix fixes"
)
"""Words that titles of tasks end in."""
