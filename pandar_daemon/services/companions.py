"""Who accompanies the process of an execution: talks with it, watches it, answers for people."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from events.running import Assignment
from pandar_daemon.domain.conversation import Conversation
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.talking import Conclude
from pandar_daemon.ports import Process
from pandar_daemon.services.agent_run import AgentRun
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.line import Line
from pandar_daemon.services.means import Means
from pandar_daemon.services.proxy import Proxy
from pandar_daemon.services.questions import Answers, Questions
from pandar_daemon.services.surroundings import Surroundings
from pandar_daemon.services.terms import terms_of
from pandar_daemon.services.workspace import Work


class Companions(Struct, frozen=True, kw_only=True):
    """One execution's.

    ``wait`` is told when people are asked, and when they are not any more; ``consult`` answers a
    question, or says ``None``.
    """

    assignment: Assignment
    options: TaskOptions
    means: Means
    line: Line
    consent: Consent
    wait: Callable[[bool], Awaitable[None]]
    consult: Callable[[str], Awaitable[str | None]]

    def proxy(self) -> Proxy | None:
        """Return the agent that answers for people, if one is to."""
        name = self.options.proxy_agent
        return None if name is None else Proxy(name, self.assignment, self.means, self.line)

    def agent(
        self,
        work: Work,
        process: Process,
        show: Callable[[bytes], Awaitable[None]],
        conclude: Callable[[Conclude], Awaitable[None]],
    ) -> AgentRun:
        """Return the conversation with an agent; it may ``show`` words, and ``conclude`` once."""
        boxed = work.spec.box is not None
        driver = self.means.agents.driver(self.assignment.agent or "", boxed=boxed)
        conversation = Conversation(
            terms_of(self.assignment, self.options, work, self.means.prices)
        )
        around = Surroundings(
            assignment=self.assignment,
            store=self.means.store,
            line=self.line,
            consent=self.consent,
            grants=Grants(self.assignment, self.line, self.means.clock, work.spec.cwd, work.home),
            clock=self.means.clock,
            show=show,
            conclude=conclude,
            wait=self.wait,
            consult=self.consult,
        )
        return AgentRun(process.talk, driver, conversation, around)

    def questions(self, process: Process) -> Questions:
        """Return who watches a command for questions on its terminal."""
        proxy = self.options.proxy_agent
        answers = Answers(
            assignment=self.assignment,
            line=self.line,
            consent=self.consent,
            clock=self.means.clock,
            wait=self.wait,
            consult=self.consult,
            proxy=f"proxy:{proxy}",
            limit=self.options.max_proxy_answers if proxy else 0,
        )
        return Questions(process.talk, answers)
