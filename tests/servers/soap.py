"""A SOAP service that others wrote: the server of the npm package `soap`, with orders to find."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.servers.npm import installed
from tests.servers.web import _free_port, _running

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "s3cret-w0rd"

WSDL = """<?xml version="1.0"?>
<wsdl:definitions name="Orders" targetNamespace="urn:orders" xmlns:t="urn:orders" xmlns:x="urn:orders:types"
  xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
  xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/">
 <wsdl:types><xsd:schema targetNamespace="urn:orders:types" elementFormDefault="qualified">
  <xsd:complexType name="Order"><xsd:sequence>
    <xsd:element name="orderId" type="xsd:int"/><xsd:element name="title" type="xsd:string"/>
    <xsd:element name="amount" type="xsd:decimal"/><xsd:element name="changedAt" type="xsd:dateTime"/>
    <xsd:element name="open" type="xsd:boolean"/><xsd:element name="day" type="xsd:date" minOccurs="0"/>
    <xsd:element name="seal" type="xsd:base64Binary" minOccurs="0"/>
  </xsd:sequence></xsd:complexType>
  <xsd:element name="FindOrders"><xsd:complexType><xsd:sequence>
    <xsd:element name="company" type="xsd:int"/>
    <xsd:element name="changedSince" type="xsd:dateTime" minOccurs="0"/>
    <xsd:element name="paging" minOccurs="0"><xsd:complexType><xsd:sequence>
      <xsd:element name="page" type="xsd:int"/><xsd:element name="size" type="xsd:int" minOccurs="0"/>
    </xsd:sequence></xsd:complexType></xsd:element>
  </xsd:sequence></xsd:complexType></xsd:element>
  <xsd:element name="FindOrdersResponse"><xsd:complexType><xsd:sequence>
    <xsd:element name="total" type="xsd:int"/>
    <xsd:element name="orders"><xsd:complexType><xsd:sequence>
      <xsd:element name="order" type="x:Order" minOccurs="0" maxOccurs="unbounded"/>
    </xsd:sequence></xsd:complexType></xsd:element>
  </xsd:sequence></xsd:complexType></xsd:element>
 </xsd:schema></wsdl:types>
 <wsdl:message name="Ask"><wsdl:part name="parameters" element="x:FindOrders"/></wsdl:message>
 <wsdl:message name="Answer"><wsdl:part name="parameters" element="x:FindOrdersResponse"/></wsdl:message>
 <wsdl:portType name="OrdersPort"><wsdl:operation name="FindOrders">
   <wsdl:input message="t:Ask"/><wsdl:output message="t:Answer"/></wsdl:operation></wsdl:portType>
 <wsdl:binding name="OrdersBinding" type="t:OrdersPort">
  <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
  <wsdl:operation name="FindOrders"><soap:operation soapAction="urn:orders#FindOrders"/>
   <wsdl:input><soap:body use="literal"/></wsdl:input><wsdl:output><soap:body use="literal"/></wsdl:output>
  </wsdl:operation></wsdl:binding>
 <wsdl:service name="OrdersService"><wsdl:port name="OrdersSoap" binding="t:OrdersBinding">
   <soap:address location="ADDRESS/orders"/></wsdl:port></wsdl:service>
</wsdl:definitions>
"""

_SERVER = """
const http = require("http"), fs = require("fs"), soap = require(process.env.MODULE);
const rows = JSON.parse(process.env.ROWS);
const asked = [];
function find(args) {
  asked.push(args);
  const company = Number(args.company);
  if (company === 13) throw { Fault: { faultcode: "soap:Client", faultstring: "Ada was here" } };
  if (company === 14) throw { Fault: { faultcode: "soap:Server", faultstring: "Ada was here" } };
  const since = args.changedSince ? new Date(args.changedSince).getTime() : 0;
  const fit = rows.filter((row) => new Date(row.changedAt).getTime() >= since);
  const page = args.paging ? Number(args.paging.page) : 1, size = args.paging ? Number(args.paging.size || 4) : 1e6;
  const order = fit.slice((page - 1) * size, page * size);
  return { total: fit.length, orders: order.length ? { order } : {} };
}
const server = http.createServer((request, response) => {
  if (request.url === "/_asked") { response.end(JSON.stringify(asked)); return; }
  if (request.url === "/_add") {
    let body = "";
    request.on("data", (piece) => { body += piece; });
    request.on("end", () => { rows.push(JSON.parse(body)); response.end(); });
    return;
  }
  response.statusCode = 404; response.end();
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => {
  const made = soap.listen(server, "/orders", { OrdersService: { OrdersSoap: { FindOrders: find } } },
    fs.readFileSync("orders.wsdl", "utf8"));
  if (process.env.PASSWORD) made.authenticate = (security) => {
    const token = security && security.UsernameToken;
    const word = token && (token.Password.$value || token.Password);
    return Boolean(token) && token.Username === "reader" && word === process.env.PASSWORD;
  };
});
"""


@contextlib.contextmanager
def soap_server(folder: Path, rows: list[dict[str, Any]], *, password: str = "", address: str = "") -> Iterator[str]:
    """The service's address, below which `orders?wsdl` describes it; it wants a token if there is a password.

    Company 13 is a fault of the request, 14 one of the server. `/_asked` lists the arguments of all calls, and what is
    posted to `/_add` is another order. `address`: what the description says instead of the service's own.
    """
    found = installed("soap@1.13.0")
    port = _free_port()
    (folder / "orders.wsdl").write_text(WSDL.replace("ADDRESS", address or f"http://127.0.0.1:{port}"))
    (folder / "server.cjs").write_text(_SERVER)
    told = {"MODULE": str(found / "soap"), "PORT": str(port), "ROWS": json.dumps(rows), "PASSWORD": password}
    with _running(["node", "server.cjs"], port, folder, told) as url:
        yield url
